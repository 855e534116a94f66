"""Judges a SEG as web viewers built on Cornerstone3D read it: @cornerstonejs/adapters under Node.

The label maps that the adapters make of it must equal highdicom's reading voxel for voxel, with segments that overlap kept apart.
Exported again by the adapters as one label map without overlaps, it must give the masses of measures.json. Exit status 1 when
anything differs. Slice heights come from the positions, pixel sizes from the source images.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import check_measures
import check_seg
import numpy as np
import pydicom

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ROOT / os.environ.get("SCARGATE_TOOLS", ".scargate") / "cornerstone"
CAVITY, MYOCARDIUM, SCAR, NO_REFLOW = 1, 2, 3, 4
# Segments of the flattened map that make up a region: what lies over the myocardium is myocardium too.
REGIONS = {CAVITY: [1], MYOCARDIUM: [2, 3, 4], SCAR: [3, 4], NO_REFLOW: [4]}
# Positions are written with 16 characters at most, so a height is known to about 1e-10; the rest is arithmetic.
TOLERANCE = 1e-8


def load(seg: pathlib.Path, sources: pathlib.Path, out: pathlib.Path) -> str | None:
    """Runs the adapters; what they objected to, None when they were content."""
    if not (PACKAGES / "node_modules").is_dir():
        return f"no {PACKAGES}/node_modules; run scripts/install.sh"
    command = ["node", "--import", "./resolve.mjs", "seg.mjs", *(path.resolve() for path in (seg, sources, out))]
    environment = os.environ | {"SCARGATE_NODE_PACKAGES": str(PACKAGES)}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT / "scripts" / "cornerstone", env=environment
    )
    return f"{done.stderr.strip()[-600:]}" if done.returncode else None


def layers(out: pathlib.Path) -> tuple[np.ndarray, dict]:
    """Label maps [layer, image, row, column] and what is said of them."""
    about = json.loads((out / "layers.json").read_text())
    return np.fromfile(out / "layers.bin", dtype=np.uint8).reshape(about["shape"]), about


def highdicom_masks(seg: pathlib.Path, about: dict) -> np.ndarray:
    """highdicom's masks [segment, image, row, column] in the order of Cornerstone's images."""
    instances = [image["instance"] for image in about["images"]]
    if len(set(instances)) == len(instances):
        return check_seg.pixels(check_seg.read(seg), instances, None)
    order = [image["frame"] - 1 for image in about["images"]]
    return check_seg.pixels(check_seg.read(seg), instances, len(order))[:, order]


def voxel_findings(found: np.ndarray, about: dict, wanted: np.ndarray) -> list[str]:
    """Where the label maps of the viewer differ from the masks, segment by segment."""
    overlap = bool((wanted.astype(bool).sum(axis=0) > 1).any())
    masks = np.stack([(found == entry["number"]).any(axis=0) for entry in about["segments"]])
    problems = [problem.replace("highdicom", "layers") for problem in check_seg.differences(masks, wanted)]
    if overlap != bool(about["overlapping"]):
        problems.append(f"overlapping segments: {about['overlapping']}, by the masks {overlap}")
    return problems


def exported_map(path: pathlib.Path, about: dict) -> tuple[np.ndarray, bool]:
    """The exported file as a label map [image, row, column], and whether its segments overlap."""
    ds = pydicom.dcmread(path)
    bits = np.unpackbits(np.frombuffer(ds.PixelData, dtype=np.uint8), bitorder="little")
    frames = bits[: ds.NumberOfFrames * ds.Rows * ds.Columns].reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)
    positions = np.array([image["position"] for image in about["images"]])
    flat, count = np.zeros((2, *about["shape"][1:]), dtype=np.uint8)
    for frame, item in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        # By place, not by ReferencedFrameNumber: the adapters number frames in their own order.
        here = np.linalg.norm(positions - np.array(item.PlanePositionSequence[0].ImagePositionPatient, dtype=float), axis=1).argmin()
        flat[here] = np.maximum(flat[here], frame * check_seg.frame_segment(item))
        count[here] += frame
    return flat, bool((count > 1).any())


def flattened(out: pathlib.Path, about: dict) -> tuple[np.ndarray, list[str]]:
    """The label map without overlaps as exported, and where it is not what was exported."""
    held = np.fromfile(out / "flat.bin", dtype=np.uint8).reshape(about["shape"][1:])
    flat, overlap = exported_map(out / "flattened.dcm", about)
    found = ["flattened: segments overlap"] if overlap else []
    return flat, found + ([] if np.array_equal(flat, held) else ["flattened: the export differs from what was exported"])


def heights(positions: np.ndarray) -> np.ndarray:
    """Millimetres that each image stands for: half the distance to both neighbours, at the ends the distance to the only one."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2


def masses(regions: dict[int, np.ndarray], about: dict) -> dict[str, float]:
    """LV and LGE mass in g and the burden in %, from regions and positions alone."""
    pixel = np.prod(np.array(about["spacing_mm"], dtype=float))
    gram = pixel * heights(np.array([image["position"] for image in about["images"]])) / 1000 * check_measures.DENSITY
    lv, scar = (float((regions[region].sum(axis=(1, 2)) * gram).sum()) for region in (MYOCARDIUM, SCAR))
    return {"lv_mass": lv, "scar_mass": scar, "burden": 100 * scar / lv if lv else float("nan")}


def measure_findings(ours: dict, theirs: dict[str, float]) -> list[str]:
    """Masses that differ from those of measures.json; one that is absent there cannot differ."""
    values = {key: check_measures.value(ours[key]) for key in theirs}
    return [
        f"{key}: {values[key]} measured, {wanted} from the flattened export"
        for key, wanted in theirs.items()
        if values[key] is not None and abs(values[key] - wanted) > TOLERANCE * max(1.0, wanted)
    ]


def findings(seg: pathlib.Path, sources: pathlib.Path, measures: dict | None) -> list[str]:
    """All that is wrong with one SEG."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        if (refused := load(seg, sources, out)) is not None:
            return [f"cornerstone: {refused}"]
        found, about = layers(out)
        wanted = highdicom_masks(seg, about)
        problems = voxel_findings(found, about, wanted)
        flat, more = flattened(out, about)
    regions = {region: np.isin(flat, parts) for region, parts in REGIONS.items()}
    problems += more
    problems += [f"flattened: segment {n} differs" for n, mask in enumerate(wanted, 1) if not np.array_equal(regions[n], mask.astype(bool))]
    problems += measure_findings(measures, masses(regions, about)) if measures else []
    return [f"cornerstone: {problem}" for problem in problems]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seg", type=pathlib.Path)
    parser.add_argument("sources", type=pathlib.Path, help="folder of the source DICOM")
    parser.add_argument("--measures", type=pathlib.Path, help="measures.json of the same result")
    args = parser.parse_args()
    found = findings(args.seg, args.sources, json.loads(args.measures.read_text()) if args.measures else None)
    print("\n".join(found) or "the adapters agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

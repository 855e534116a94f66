"""How the dense model's end-to-end figures move when the held-out pictures are perturbed; one table row each."""

import json
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage
from tqdm import tqdm

from . import sets
from .common import RUNS
from .data import Case
from .metrics import case_row, summary
from .pipeline import Pipeline


def unit(images: np.ndarray) -> np.ndarray:
    """A stack scaled to 0..1."""
    low, high = images.min(), images.max()
    return (images - low) / max(float(high - low), 1e-6)


def rayleigh(x: np.ndarray, sd: float) -> np.ndarray:
    """Magnitude of the stack plus complex noise, fixed seed."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(0, sd, x.shape) for _ in range(2))
    return np.hypot(x + a, b).astype(np.float32)


def bias(x: np.ndarray, strength: float) -> np.ndarray:
    """A coil-like gain that rises from one corner to the other, exp(-strength .. strength)."""
    ramp = np.linspace(-0.5, 0.5, x.shape[2])[None, :] + np.linspace(-0.5, 0.5, x.shape[1])[:, None]
    return x * np.exp(strength * ramp).astype(np.float32)


def equalised(x: np.ndarray, limit: float) -> np.ndarray:
    """Local histogram equalisation (CLAHE)."""
    grid = cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8))
    return np.stack([grid.apply((i * 255).astype(np.uint8)) for i in x]).astype(np.float32) / 255


def scaled(x: np.ndarray, zoom: tuple[float, float], order: int) -> np.ndarray:
    """Each slice stretched by (y, x)."""
    return ndimage.zoom(x, (1, *zoom), order=order, grid_mode=True, mode="nearest")


def rotated(x: np.ndarray, degrees: float, order: int) -> np.ndarray:
    """Each slice turned about its middle, corners black."""
    return ndimage.rotate(x, degrees, (1, 2), reshape=False, order=order)


def both(function, *settings):
    """A change of geometry: pictures linearly, labels to the nearest pixel."""
    return lambda x, y: (function(x, *settings, 1), function(y, *settings, 0))


def grey(function, *settings):
    """A change of grey values only."""
    return lambda x, y: (function(x, *settings), y)


def turned(k: int):
    """One of the eight orientations."""
    return lambda x, y: tuple(np.rot90(v.transpose(0, 2, 1) if k >= 4 else v, k % 4, (1, 2)).copy() for v in (x, y))


PERTURBATIONS = {
    "none": lambda x, y: (x, y),
    "gamma 0.7": grey(np.power, 0.7),
    "gamma 1.4": grey(np.power, 1.4),
    "brightness + 0.2": grey(lambda x: np.clip(x + 0.2, 0, 1)),
    "brightness - 0.1": grey(lambda x: np.clip(x - 0.1, 0, 1)),
    "CLAHE 2": grey(equalised, 2.0),
    "Rayleigh noise 0.05": grey(rayleigh, 0.05),
    "Rayleigh noise 0.1": grey(rayleigh, 0.1),
    "bias field": grey(bias, 0.7),
    "window: top 2 % clipped": grey(lambda x: np.minimum(x, np.percentile(x, 98))),
    "window: bright object": lambda x, y: (np.where(np.indices(x.shape).sum(0) < 30, 2.0, x).astype(np.float32), y),
    "height x 0.8": both(scaled, (0.8, 1.0)),
    "width x 1.25": both(scaled, (1.0, 1.25)),
    "turned 30 degrees": both(rotated, 30),
    "turned 45 degrees": both(rotated, 45),
    "slices reversed": lambda x, y: (x[::-1].copy(), y[::-1].copy()),
    **{f"orientation {k}": turned(k) for k in range(1, 8)},
}


def run(models: Path, cases: list[Case], name: str, wanted: list[str] | None = None) -> dict[str, dict]:
    """Summary by perturbation; written to runs/evaluate/<name>.json and .md after each.

    Goes on where it stopped: for other weights delete the files.
    """
    target = RUNS / "evaluate" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    out = json.loads(target.read_text()) if target.exists() else {}
    pipeline = Pipeline(models, prompted=False)
    for what in tqdm([w for w in wanted or PERTURBATIONS if w not in out], name, mininterval=10):
        rows = []
        for case in cases:
            x, y = PERTURBATIONS[what](unit(np.asarray(case.images)), np.asarray(case.labels))
            rows.append(case_row(case.name, pipeline.run(x).dense, y))
        out[what] = summary(rows)
        target.write_text(json.dumps(out, indent=1, default=float))
        target.with_suffix(".md").write_text(table(out) + "\n")
    return out


def table(out: dict[str, dict]) -> str:
    """One line per perturbation."""
    lines = [
        "| perturbation | myocardium Dice | scar volume Dice | scar slice Dice | fraction error / bias | normals: mean, worst | sensitive, specific |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, s in out.items():
        lines.append(
            f"| {name} | {s['myocardium']:.2f} | {s['scar']:.2f} | {s['scar_slice']:.2f} | "
            f"{s['fraction_mae']:.1f} / {s['fraction_bias']:+.1f} | {s['fraction_normal_mean']:.1f}, {s['fraction_normal_worst']:.1f} | "
            f"{s['sensitive']} of {s['n_pathological']}, {s['specific']} of {s['n_normal']} |"
        )
    return "\n".join(lines)


def main(models: Path, fold: str) -> None:
    """The held-out cases of a group."""
    print(table(run(models, sets.parts(fold)[1], f"robust-{fold}")))

"""Lesion components of a label crop and the boxes that the detector learns and the promptable model gets."""

import numpy as np
from scipy import ndimage

from .data import SCAR


def lesions(label: np.ndarray, least: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(mask [H, W], box x0 y0 x1 y1 f32 with the far edge exclusive) of each scar + no-reflow component, largest first.

    Fragments up to two pixels apart count as one lesion; components below `least` pixels are left out.
    """
    scar = label >= SCAR
    parts, count = ndimage.label(ndimage.binary_dilation(scar, np.ones((3, 3))), np.ones((3, 3)))
    found = []
    for i in range(1, count + 1):
        mask = scar & (parts == i)
        ys, xs = np.nonzero(mask)
        if len(ys) >= least:
            found.append((mask, np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)))
    return sorted(found, key=lambda f: -int(f[0].sum()))


def components(label: np.ndarray, least: int, most: int = 8) -> np.ndarray:
    """Boxes [k, 4] of `lesions`, at most `most`."""
    return np.array([box for _, box in lesions(label, least)[:most]], np.float32).reshape(-1, 4)


def jitter(box: np.ndarray, size: int, rng: np.random.Generator, move=0.1, grow=1.3) -> np.ndarray:
    """A prompt as a detector might give it: corners moved by up to 10 % of the sides, then grown up to 1.3."""
    w, h = max(box[2] - box[0], 4.0), max(box[3] - box[1], 4.0)
    moved = box + rng.uniform(-move, move, 4) * (w, h, w, h)
    cx, cy = (moved[0] + moved[2]) / 2, (moved[1] + moved[3]) / 2
    g = rng.uniform(1.0, grow, 2)
    w, h = max(moved[2] - moved[0], 4.0) * g[0] / 2, max(moved[3] - moved[1], 4.0) * g[1] / 2
    return np.clip(np.array([cx - w, cy - h, cx + w, cy + h]), 0, size).astype(np.float32)


def empty_box(label: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A plausible false box: on the ring and free of scar; None when the draw finds none."""
    ys, xs = np.nonzero(label == 2)
    if not len(ys):
        return None
    for _ in range(8):
        i = rng.integers(len(ys))
        w, h = rng.uniform(12, 60, 2)
        x0, y0 = max(xs[i] - w / 2, 0), max(ys[i] - h / 2, 0)
        x1, y1 = min(xs[i] + w / 2, label.shape[1]), min(ys[i] + h / 2, label.shape[0])
        if not (label[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] >= SCAR).any():
            return np.array([x0, y0, x1, y1], np.float32)
    return None

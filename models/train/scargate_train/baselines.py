"""Classical thresholds inside a given wall, for the table: PSIR-safe FWHM, 5-SD, Otsu. Nothing here assumes that 0 is black.

All work on the whole stack: a slice whose ring is infarcted all round has no remote wall of its own.
"""

import numpy as np
from scipy import ndimage

LEAST = 10  # px; smaller parts are dropped


def sectors(labels: np.ndarray) -> np.ndarray:
    """Angle, degrees, of every pixel about the cavity's (or the wall's) centre in its slice."""
    out = np.zeros(labels.shape, np.float32)
    for k, label in enumerate(labels):
        body = label == 1 if (label == 1).any() else label >= 2
        if body.any():
            cy, cx = ndimage.center_of_mass(body)
            yy, xx = np.indices(label.shape)
            out[k] = np.degrees(np.arctan2(yy - cy, xx - cx)) % 360
    return out


def remote(image: np.ndarray, wall: np.ndarray, angle: np.ndarray) -> tuple[float, float]:
    """Mean and SD of the 60-degree sector with the lowest mean among those of at most median SD."""
    found = []
    for first in range(0, 360, 10):
        values = image[wall & ((angle - first) % 360 < 60)]
        if len(values) >= 10:
            found.append((float(values.mean()), float(values.std())))
    if not found:
        return float(image[wall].mean()), float(image[wall].std())
    middle = np.median([sd for _, sd in found])
    return min(f for f in found if f[1] <= middle)


def otsu(values: np.ndarray) -> float:
    """Threshold of the largest between-class variance, 256 bins."""
    count, edges = np.histogram(values, 256)
    middle, share = (edges[1:] + edges[:-1]) / 2, count / count.sum()
    low, first = np.cumsum(share), np.cumsum(share * middle)
    between = (first[-1] * low - first) ** 2 / np.maximum(low * (1 - low), 1e-9)
    return float(middle[int(np.argmax(between))])


def thresholds(image: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Threshold of each method for a stack and its wall."""
    wall = labels >= 2
    mean, sd = remote(image, wall, sectors(labels))
    top = float(np.percentile(image[wall], 99.5))
    return {"fwhm": (mean + top) / 2, "5-sd": mean + 5 * sd, "otsu": otsu(image[wall])}


def labels_of(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Labels with scar from each method; wall and cavity as given."""
    plain = np.where(labels >= 3, 2, labels).astype(np.uint8)
    if not (labels >= 2).any():
        return {name: plain for name in ("fwhm", "5-sd", "otsu")}
    image = np.stack([ndimage.gaussian_filter(np.asarray(i, np.float32), 0.7) for i in images])
    out = {}
    for name, threshold in thresholds(image, labels).items():
        scar = (labels >= 2) & (image > threshold)
        for k in range(len(scar)):
            parts, count = ndimage.label(scar[k], np.ones((3, 3)))
            sizes = ndimage.sum_labels(scar[k], parts, range(1, count + 1))
            scar[k] &= ~np.isin(parts, 1 + np.flatnonzero(np.asarray(sizes) < LEAST))
        out[name] = np.where(scar, 3, plain).astype(np.uint8)
    return out

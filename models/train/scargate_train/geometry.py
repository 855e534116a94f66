"""Square regions of a slice and how they are resampled; one pixel covers [i, i+1), its centre is i + 0.5."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from .data import MYOCARDIUM


@dataclass
class Region:
    """A square in slice coordinates: centre (cx, cy) and side, in pixels; it may reach outside the image."""

    cx: float
    cy: float
    side: float


def whole(height: int, width: int) -> Region:
    """Region "slice": the image padded to a square about its centre."""
    return Region(width / 2, height / 2, float(max(height, width)))


def from_masks(masks: np.ndarray, factor: float) -> Region | None:
    """Region "lv-crop" of a stack: [n, H, W] ring masks -> square about their common box, or None if all are empty."""
    ys, xs = np.nonzero(masks.any(0))
    if not len(ys):
        return None
    x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    return Region((x0 + x1) / 2, (y0 + y1) / 2, factor * float(max(x1 - x0, y1 - y0)))


def heart(labels: np.ndarray) -> np.ndarray:
    """The largest component (26-connected through the stack) of cavity + wall of labels [n, H, W], as a mask.

    A false ring far from the heart, or beyond base and apex, does not join the chain of slices that holds the
    heart: it neither moves the crop nor adds mass.
    """
    body = labels > 0
    parts, count = ndimage.label(body, np.ones((3, 3, 3)))
    if count < 2:
        return body
    sizes = ndimage.sum_labels(body, parts, range(1, count + 1))
    return parts == 1 + int(np.argmax(sizes))


def reference_region(labels: np.ndarray, factor: float) -> Region | None:
    """The LV crop that the reference labels of a stack give."""
    return from_masks(labels >= MYOCARDIUM, factor)


def matrix(region: Region, size: int, rotate=0.0, scale=(1.0, 1.0), flip=False) -> np.ndarray:
    """2 x 3 map from output pixel indices (x, y) to slice pixel indices, with optional augmentation."""
    step = region.side / size
    c, s = np.cos(rotate), np.sin(rotate)
    linear = np.array([[c, -s], [s, c]]) @ np.diag([scale[0] * (-1 if flip else 1), scale[1]]) * step
    offset = np.array([region.cx, region.cy]) - 0.5 + linear @ np.array([0.5 - size / 2, 0.5 - size / 2])
    return np.column_stack([linear, offset])


def warp(image: np.ndarray, m, size: int, nearest=False) -> np.ndarray:
    """Resample with a `matrix`, or with source coordinates (x, y) of every pixel; for training. Outside the image: 0."""
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    if isinstance(m, tuple):
        return cv2.remap(np.ascontiguousarray(image), *m, how, borderValue=0)
    return cv2.warpAffine(image, m, (size, size), flags=how | cv2.WARP_INVERSE_MAP, borderValue=0)


def crop(image: np.ndarray, region: Region, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact bilinear resampling of a region to size x size, and the mask of output pixels inside the image.

    Edge pixels are repeated for half a pixel; output pixels whose centre is outside the image are 0.
    """
    height, width = image.shape
    at = (np.arange(size) + 0.5) * region.side / size - region.side / 2
    xs, ys = region.cx + at, region.cy + at
    inside = ((ys >= 0) & (ys <= height))[:, None] & ((xs >= 0) & (xs <= width))[None, :]
    return bilinear(image, ys - 0.5, xs - 0.5) * inside, inside


def bilinear(image: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Image [..., H, W] sampled on the grid ys x xs of pixel indices, edges repeated."""
    height, width = image.shape[-2:]
    ys, xs = np.clip(ys, 0, height - 1), np.clip(xs, 0, width - 1)
    y0, x0 = np.floor(ys).astype(int), np.floor(xs).astype(int)
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    fy, fx = (ys - y0)[:, None], xs - x0
    top = image[..., y0[:, None], x0] * (1 - fx) + image[..., y0[:, None], x1] * fx
    low = image[..., y1[:, None], x0] * (1 - fx) + image[..., y1[:, None], x1] * fx
    return top * (1 - fy) + low * fy


def back(planes: np.ndarray, region: Region, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Planes [..., S, S] of a region resampled to the slice grid, and the mask of slice pixels inside the region."""
    size = planes.shape[-1]
    left, top = region.cx - region.side / 2, region.cy - region.side / 2
    xs = (np.arange(width) + 0.5 - left) * size / region.side
    ys = (np.arange(height) + 0.5 - top) * size / region.side
    inside = ((ys >= 0) & (ys <= size))[:, None] & ((xs >= 0) & (xs <= size))[None, :]
    return bilinear(planes, ys - 0.5, xs - 0.5), inside


def normalise(patch: np.ndarray, inside: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """"percentile-minmax": linear from the percentiles of the pixels inside the image to 0..1, clipped; outside 0."""
    values = patch[inside]
    if not len(values):
        return np.zeros(patch.shape, np.float32)
    a, b = np.percentile(values, [lo, hi])
    return (np.clip((patch - a) / max(b - a, 1e-6), 0, 1) * inside).astype(np.float32)

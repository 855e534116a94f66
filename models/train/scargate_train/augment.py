"""Random views of a slice: geometry and intensity perturbations, all drawn from one numpy Generator."""

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Region, matrix, normalise, warp


@dataclass
class View:
    """What one random view may do; the defaults are the training recipe."""

    side: tuple[float, float] = (0.8, 1.3)
    shift: float = 0.08
    stretch: tuple[float, float] = (0.8, 1.25)
    gamma: float = 0.45
    bias: float = 0.35
    noise: float = 0.07
    flat: float = 0.0  # chance of a low-contrast picture
    clahe: float = 0.1  # chance of local histogram equalisation
    window: tuple[float, float] = (96.0, 99.9)  # percentile that becomes 1
    dim: float = 0.0  # chance that something far brighter than the heart sets the window
    bend: float = 0.0  # largest smooth displacement, as a part of the side; half of the views are bent


def geometry(region: Region, size: int, view: View, rng: np.random.Generator) -> np.ndarray:
    """A random map for `warp`: any rotation, a flip, anisotropic scale, jitter of side and centre."""
    factor = np.exp(rng.uniform(np.log(view.side[0]), np.log(view.side[1])))
    stretch = np.clip(np.exp(rng.normal(0, 0.08, 2)), *view.stretch)
    move = rng.uniform(-view.shift, view.shift, 2) * region.side
    moved = Region(region.cx + move[0], region.cy + move[1], region.side * factor)
    return matrix(moved, size, rng.uniform(0, 2 * np.pi), stretch / stretch.mean(), rng.random() < 0.5)


def smooth_field(size: int, rng: np.random.Generator, knots: int = 4) -> np.ndarray:
    """A low-frequency field in about -1..1."""
    coarse = rng.normal(0, 1, (knots, knots)).astype(np.float32)
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return field / max(float(np.abs(field).max()), 1e-6)


def intensity(patch: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Gamma, brightness, bias field, local histogram equalisation, blur, Gaussian or Rayleigh noise on 0..1 values."""
    size = patch.shape[-1]
    if rng.random() < 0.7:
        patch = patch ** np.exp(rng.uniform(-view.gamma, view.gamma))
    if rng.random() < 0.5:
        patch = patch * np.exp(rng.uniform(0, view.bias) * smooth_field(size, rng))
    if rng.random() < 0.3:
        patch = patch * rng.uniform(0.8, 1.2) + rng.uniform(-0.1, 0.1)
    if rng.random() < view.flat:
        patch = rng.uniform(0, 0.8) + (patch - 0.5) * rng.uniform(0.25, 0.8)
    if rng.random() < view.dim:
        patch = patch * rng.uniform(0.3, 1)
    if rng.random() < view.clahe:
        grid = cv2.createCLAHE(clipLimit=rng.uniform(1, 3), tileGridSize=(4, 4))
        patch = grid.apply((np.clip(patch, 0, 1) * 255).astype(np.uint8)).astype(np.float32) / 255
    if rng.random() < 0.2:
        patch = cv2.GaussianBlur(np.ascontiguousarray(patch), (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.5:
        spread = rng.uniform(0, view.noise)
        noise = rng.standard_normal(patch.shape, np.float32)
        if rng.random() < 0.3:
            other = rng.standard_normal(patch.shape, np.float32)
            patch = np.sqrt((patch + spread * noise) ** 2 + (spread * other) ** 2)
        else:
            patch = patch + spread * noise
    return np.clip(patch, 0, 1).astype(np.float32)


def grid(m: np.ndarray, size: int, view: View, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The source coordinates (x, y) of every pixel of a view: the map `m`, bent smoothly in half of the views."""
    v, u = np.mgrid[:size, :size].astype(np.float32)
    if rng.random() < 0.5:
        most = rng.uniform(0, view.bend) * size
        u, v = u + most * smooth_field(size, rng, 5), v + most * smooth_field(size, rng, 5)
    m = m.astype(np.float32)
    return m[0, 0] * u + m[0, 1] * v + m[0, 2], m[1, 0] * u + m[1, 1] * v + m[1, 2]


def draw(image, label, region, size, view, rng) -> tuple[np.ndarray, np.ndarray]:
    """One augmented view: image [S, S] f32 in 0..1 and label [S, S] u8."""
    m = geometry(region, size, view, rng)
    if view.bend:
        m = grid(m, size, view, rng)
    inside = warp(np.ones(image.shape, np.uint8), m, size, nearest=True) > 0
    window = (rng.uniform(0.1, 3), 100 - np.exp(rng.uniform(*np.log(100 - np.array(view.window[::-1])))))
    patch = normalise(warp(image, m, size), inside, *window)
    return intensity(patch, view, rng) * inside, warp(label, m, size, nearest=True)

"""A tiny stand-in for phantom stacks, for tests and smoke runs without the scargate binary: rings, arcs, noise.

It is far simpler than the phantom and trains nothing that is shipped.
"""

import numpy as np
from scipy import ndimage

from .data import Case


def stack(seed: int, size: int = 128, slices: int = 8, scar: bool = True) -> Case:
    """One stack, apex to base, its first and last slice beyond the heart (no ring)."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size] + 0.5
    cy, cx = size / 2 + rng.uniform(-8, 8, 2)
    outer, wall = size * rng.uniform(0.18, 0.24), size * rng.uniform(0.06, 0.08)
    start, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.6)
    images, labels = [], []
    for k in range(slices):
        r, angle = np.hypot(yy - cy, xx - cx), np.arctan2(yy - cy, xx - cx)
        radius = outer * (0.6 + 0.4 * k / slices) if 0 < k < slices - 1 else 0.0
        label = np.zeros((size, size), np.uint8)
        label[r < radius] = 2
        label[r < radius - wall] = 1
        arc = ((angle - start) % (2 * np.pi) < width) & (label == 2)
        if scar:
            label[arc & (r < radius - 0.3 * wall)] = 3
        back = ndimage.gaussian_filter(rng.normal(0, 1, (size, size)), 9) * 8 + 0.3
        image = np.select([label == 1, label == 2, label == 3], [0.8, -0.1, 1.1], back)
        image = ndimage.gaussian_filter(image, 0.8) + rng.normal(0, 0.05, image.shape)
        images.append(image.astype(np.float32))
        labels.append(label)
    return Case(f"synthetic-{seed}", seed, np.stack(images), np.stack(labels), False)


def write(folder, count: int, first: int = 0) -> None:
    """Write stacks in the format of `scargate phantom --export-arrays`, every third one without scar."""
    cases = [stack(first + i, scar=i % 3 != 2) for i in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.concatenate([c.images for c in cases]))
    np.save(folder / "labels.npy", np.concatenate([c.labels for c in cases]))
    np.save(folder / "case.npy", np.concatenate([np.full(len(c.images), i, np.uint32) for i, c in enumerate(cases)]))
    (folder / "meta.json").write_text('{"generator": "scargate_train.synthetic"}\n')

"""Which cases a recipe trains on and validates on: the folds of split.toml plus phantom stacks if exported."""

from dataclasses import dataclass

import numpy as np

from . import phantom, split
from .common import HERE, RUNS, SMOKE, config
from .data import Case, load_emidec
from .geometry import Region, crop, normalise, reference_region, whole


@dataclass
class Slice:
    """One slice with the two regions it can be seen in."""

    image: np.ndarray
    label: np.ndarray
    crop: Region
    whole: Region

    @property
    def scar(self) -> bool:
        """Some scar or no-reflow is drawn."""
        return bool((self.label >= 3).any())


def slices(cases: list[Case], factor: float) -> list[Slice]:
    """All slices of the cases; the LV crop is that of the whole stack."""
    out = []
    for case in cases:
        region = reference_region(case.labels, factor)
        if region is None:
            continue
        for image, label in zip(case.images, case.labels, strict=True):
            out.append(Slice(image, label, region, whole(*image.shape)))
    return out


def real(folds: list[int]) -> list[Case]:
    """Cases of the folds; the locked ones are not in the pack. Empty in a smoke run: it never sees EMIDEC."""
    if SMOKE:
        return []
    parts = split.read(HERE / "split.toml")["folds"]
    wanted = {c for f in folds for c in parts[f]}
    return [c for c in load_emidec(RUNS / "emidec.npz") if c.number in wanted]


def groups() -> list[list[int]]:
    """The cross-validation groups: which folds of split.toml are held out together."""
    return config("myocardium")["groups"]


def parts(fold: str) -> tuple[list[Case], list[Case]]:
    """(training, held-out) real cases of a cross-validation group ("0", "1", ...), or everything and nothing ("all")."""
    held = groups()[int(fold)] if fold != "all" else []
    return real([f for group in groups() for f in group if f not in held]), real(held)


def synthetic(which: str) -> list[Case]:
    """Phantom cases: `which` is "train" or "test" (other seeds), empty when none were exported."""
    return phantom.load(RUNS / "phantom" / which)


def plain(s: Slice, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop as the gateway makes it, and its label."""
    patch = normalise(*crop(s.image, s.crop, size), 1, 99)
    onehot = np.stack([crop((s.label == k).astype(np.float32), s.crop, size)[0] for k in range(5)])
    onehot[0] += 1e-3
    return patch, onehot.argmax(0).astype(np.uint8)

"""Phantom stacks as the scargate binary exports them (`scargate phantom --export-arrays DIR`)."""

from pathlib import Path

import numpy as np

from .data import Case


def load(folder: Path) -> list[Case]:
    """The stacks in a folder of images.npy, labels.npy and case.npy; [] when there are none.

    Images are signed PSIR, f32 [n, H, W], read through a memory map; slices beyond base and apex are included.
    """
    if not (folder / "meta.json").exists():
        return []
    images = np.load(folder / "images.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    case = np.load(folder / "case.npy")
    starts = np.flatnonzero(np.r_[True, case[1:] != case[:-1]])
    ends = np.r_[starts[1:], len(case)]
    return [
        Case(f"phantom-{case[a]}", int(case[a]), images[a:b], labels[a:b], False)
        for a, b in zip(starts, ends, strict=True)
    ]

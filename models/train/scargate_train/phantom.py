"""Phantom stacks as the scargate binary exports them (`scargate phantom --export-arrays`)."""

from pathlib import Path

import numpy as np

from .data import Case


def load(folder: Path) -> list[Case]:
    """All stacks below a folder, slices beyond base and apex included; [] when the folder does not exist."""
    cases = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as z:
            images, labels, case = z["images"], z["labels"], z["case"]
        for number in np.unique(case):
            mine = case == number
            cases.append(Case(f"{path.stem}-{number}", int(number), images[mine], labels[mine], False))
    return cases

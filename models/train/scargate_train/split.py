"""The honest split: which EMIDEC case is locked and which fold holds it, fixed before any training.

The rule needs no randomness: inside each stratum (normal; pathological in three classes of scar fraction)
cases are ordered by the SHA-256 of a salted case number; the first ones are locked, the rest are dealt
over five folds like cards. Anyone can rebuild `split.toml` from the labels and compare.
"""

import hashlib
import tomllib
from pathlib import Path

import numpy as np

SALT = "scargate-split-v1:"
LOCKED = {"normal": 4, "small": 3, "medium": 3, "large": 2}
FOLDS = 5


def key(case: int) -> str:
    """Order of a case inside its stratum."""
    return hashlib.sha256(f"{SALT}{case:03d}".encode()).hexdigest()


def strata(scar: dict[int, float | None]) -> dict[str, list[int]]:
    """Case number -> stratum; `scar` holds the scar fraction of pathological cases, None for normals."""
    sick = sorted((c for c, f in scar.items() if f is not None), key=lambda c: (scar[c], c))
    thirds = [list(map(int, part)) for part in np.array_split(sick, 3)]
    normal = [c for c, f in scar.items() if f is None]
    return dict(zip(("normal", "small", "medium", "large"), [normal, *thirds], strict=True))


def make(scar: dict[int, float | None]) -> dict:
    """The split as `split.toml` stores it: {"locked": [...], "folds": [[...] x 5]}."""
    locked, folds, turn = [], [[] for _ in range(FOLDS)], 0
    for name, members in strata(scar).items():
        order = sorted(members, key=key)
        locked += order[: LOCKED[name]]
        for case in order[LOCKED[name] :]:
            folds[turn % FOLDS].append(case)
            turn += 1
    return {"locked": sorted(locked), "folds": [sorted(f) for f in folds]}


def read(path: Path) -> dict:
    """Read and check a split file; raises ValueError when a case is in two sets."""
    split = tomllib.loads(path.read_text())
    everything = split["locked"] + [c for fold in split["folds"] for c in fold]
    if len(everything) != len(set(everything)):
        raise ValueError("a case is in two sets")
    return split


def write(split: dict, path: Path) -> None:
    """Write `split.toml`."""
    folds = "\n".join(f"  {fold}," for fold in split["folds"])
    path.write_text(
        "# EMIDEC case numbers. Written once by `python -m scargate_train split`, before the first training;\n"
        "# the rule is in scargate_train/split.py. Choices are made on folds only; the locked cases are opened\n"
        "# once per released weights, and each opening is recorded in openings.md with its figures.\n"
        f'salt = "{SALT}"\n'
        f"locked = {split['locked']}\n"
        f"folds = [\n{folds}\n]\n"
    )

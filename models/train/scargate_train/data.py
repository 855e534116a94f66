"""Cases in memory: EMIDEC packed to one file, and phantom stacks exported by the scargate binary."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

BACKGROUND, CAVITY, MYOCARDIUM, SCAR, NO_REFLOW = range(5)
CLASSES = ["background", "cavity", "myocardium", "scar", "no-reflow"]


@dataclass
class Case:
    """One stack: images [n, H, W] (any real units), labels [n, H, W] u8 with the classes above."""

    name: str
    number: int
    images: np.ndarray
    labels: np.ndarray
    real: bool

    @property
    def pathological(self) -> bool:
        """At least one scar or no-reflow pixel in the reference."""
        return bool((self.labels >= SCAR).any())


def scar_fraction(labels: np.ndarray) -> float:
    """(scar + no-reflow) / whole myocardium; 0 when there is no myocardium."""
    ring = int((labels >= MYOCARDIUM).sum())
    return int((labels >= SCAR).sum()) / ring if ring else 0.0


def emidec_files(folder: Path, what: str) -> dict[str, list[Path]]:
    """Case name ("P001") -> its PNG files in slice order, `what` being "images" or "labels"."""
    cases: dict[str, list[Path]] = {}
    for path in sorted((folder / what).glob("Case_*_slice*.png")):
        match = re.fullmatch(r"Case_([PN]\d+)_slice(\d+)", path.stem)
        if match:
            cases.setdefault(match[1], []).append(path)
    return cases


def _stack(paths: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(p).convert("L"), np.uint8) for p in paths])


def emidec_scar_fractions(folder: Path) -> dict[int, float | None]:
    """Case number -> scar fraction from the labels alone (None for normal cases), for the split."""
    return {
        int(name[1:]): scar_fraction(_stack(paths)) if name[0] == "P" else None
        for name, paths in emidec_files(folder, "labels").items()
    }


def emidec_folder() -> Path:
    """The EMIDEC folder, from the environment: it is not part of the project."""
    folder = os.environ.get("EMIDEC")
    if not folder or not (Path(folder) / "labels").is_dir():
        raise SystemExit("set EMIDEC to the folder that holds EMIDEC's images/ and labels/")
    return Path(folder)


def emidec_stacks(folder: Path, what: str, numbers: set[int]) -> dict[str, np.ndarray]:
    """Case name -> [n, H, W] u8 of the cases `numbers`, `what` being "images" or "labels"."""
    return {n: _stack(p) for n, p in sorted(emidec_files(folder, what).items()) if int(n[1:]) in numbers}


def pack_emidec(folder: Path, numbers: set[int], target: Path) -> int:
    """Pack the images and labels of the cases `numbers` into one npz; returns the number of slices."""
    images, labels = (emidec_stacks(folder, what, numbers) for what in ("images", "labels"))
    names = list(images)
    stacks = {n: (images[n], labels[n]) for n in names}
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        target,
        names=np.array(names),
        counts=np.array([len(stacks[n][0]) for n in names]),
        images=np.concatenate([stacks[n][0] for n in names]),
        labels=np.concatenate([stacks[n][1] for n in names]),
    )
    return sum(len(s[0]) for s in stacks.values())


def load_emidec(pack: Path) -> list[Case]:
    """The cases of a pack."""
    with np.load(pack) as z:
        ends = np.cumsum(z["counts"])
        images, labels = z["images"], z["labels"]
        return [
            Case(str(n), int(str(n)[1:]), images[e - c : e].astype(np.float32), labels[e - c : e], True)
            for n, c, e in zip(z["names"], z["counts"], ends, strict=True)
        ]

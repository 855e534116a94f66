"""The golden studies: which phantoms are drawn, how some are turned, and truth against measured in one table.

Every phantom of the plan stands in the table. Synthetic studies: this checks the plumbing, not accuracy.
"""

import dataclasses
import json
import pathlib

import numpy as np
import pydicom
from pydicom.valuerep import DSfloat as DS

STYLES = ["siemens", "ge", "philips"]
# Classic objects and enhanced multi-frame ones; every territory, with and without no-reflow, no scar, a scar drawn at random.
SCARS = {
    "classic": ["--scar lad:0.9:50:mvo", "--scar lcx:0.6:40", "--variant scar-free"],
    "enhanced": ["--scar rca:1.0:45", ""],
}
# One phantom more often, in other orientations of the same patient space, and what a stack should not be.
EXTRA = [
    ("--style siemens --scar lad:0.9:50:mvo", "mirrored"),
    ("--style siemens --scar lad:0.9:50:mvo", "turned"),
    ("--style siemens --scar lad:0.9:50:mvo --variant missing-slice", ""),
]
# Key of measures.json -> key of truth.json, name, unit of a difference.
NUMBERS = {
    "lv_mass": ("lv_mass_g", "LV mass", "g"),
    "scar_mass": ("scar_mass_g", "LGE mass", "g"),
    "burden": ("burden_percent", "burden", "points"),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A phantom: options of `scargate phantom`, and how its images are turned afterwards."""

    options: str
    turn: str = ""

    def __str__(self) -> str:
        return f"{self.options}{f', {self.turn}' if self.turn else ''}"


def plan(seeds: int) -> list[Case]:
    """All cases; each combination has seeds of its own, so that no two studies share a heart but the turned ones."""
    cases = []
    for round_ in range(seeds):
        number = 100 + 100 * round_
        base = f"--seed {number}"
        for style in STYLES:
            for shape, scars in SCARS.items():
                for scar in scars:
                    number += 1
                    words = [f"--seed {number} --style {style}", scar, "--enhanced" if shape == "enhanced" else ""]
                    cases.append(Case(" ".join(word for word in words if word)))
        cases += [Case(f"{base} {EXTRA[0][0]}")] + [Case(f"{base} {options}", turn) for options, turn in EXTRA]
    return cases


def turn_image(ds: pydicom.Dataset, how: str) -> None:
    """The same image in patient space with another pixel grid: columns reversed, and for `turned` rows and columns swapped too."""
    pixels = ds.pixel_array
    if how == "turned":
        pixels = pixels.T
        orientation = list(ds.ImageOrientationPatient)
        ds.ImageOrientationPatient = orientation[3:] + orientation[:3]
        ds.PixelSpacing = list(ds.PixelSpacing)[::-1]
    row = np.array(ds.ImageOrientationPatient[:3], dtype=float)
    corner = np.array(ds.ImagePositionPatient, dtype=float) + (pixels.shape[1] - 1) * float(ds.PixelSpacing[1]) * row
    ds.ImagePositionPatient = [DS(value, auto_format=True) for value in corner]
    ds.ImageOrientationPatient = [*(DS(-value, auto_format=True) for value in row), *ds.ImageOrientationPatient[3:]]
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelData = np.ascontiguousarray(pixels[:, ::-1]).tobytes()


def turn(folder: pathlib.Path, how: str) -> None:
    """Turns every classic image below a folder, in place."""
    for path in sorted(folder.rglob("*.dcm")):
        ds = pydicom.dcmread(path)
        if "ImageOrientationPatient" in ds:
            turn_image(ds, how)
            ds.save_as(path)


def tilt(truth: dict) -> float:
    """Degrees between the long axis of the heart and the nearest axis of the patient."""
    axis = np.abs(np.array(truth["base_to_apex"]))
    return float(np.degrees(np.arccos(min(1.0, axis.max() / np.linalg.norm(axis)))))


def transmurality_error(truth: dict, measures: dict) -> tuple[float | None, int]:
    """Mean absolute difference over the segments that both have, in points, and how many these are."""
    wanted = {entry["segment"]: entry["transmurality_percent"] for entry in truth["segments"]}
    found = {entry["segment"]: entry["transmurality"].get("value") for entry in measures["segments"]["segments"]}
    off = [abs(value["mean"] - wanted[n]) for n, value in found.items() if value is not None and wanted.get(n) is not None]
    return (sum(off) / len(off) if off else None), len(off)


def figures(truth: dict, measures: dict) -> dict:
    """Truth and measured of one phantom; None with the reason where nothing was measured."""
    found = {key: (truth[name], measures[key].get("value"), measures[key].get("absent")) for key, (name, *_) in NUMBERS.items()}
    error, segments = transmurality_error(truth, measures)
    directions = (measures["segments"]["directions"].get("value") or {}).get("source", "absent")
    geometry = f"{truth['pixel_mm']:.2f} mm, planes {truth['spacing_mm']:.1f} mm, tilt {tilt(truth):.0f}°"
    return {"numbers": found, "error": error, "segments": segments, "directions": directions, "geometry": geometry}


def read(study: pathlib.Path, result: pathlib.Path) -> dict:
    """Figures from the files of one phantom."""
    truth = json.loads((study / "truth" / "truth.json").read_text())
    return figures(truth, json.loads((result / "measures.json").read_text()))


def twin_findings(cases: list[Case], all_found: list[dict | None]) -> list[list[str]]:
    """For each case, the numbers of a turned study that differ by more than 0.1 % from those of the same study as drawn."""
    drawn = {case.options: found for case, found in zip(cases, all_found, strict=True) if not case.turn}
    objections = []
    for case, found in zip(cases, all_found, strict=True):
        twin = drawn.get(case.options) if case.turn else None
        pairs = [(key, found["numbers"][key][1], twin["numbers"][key][1]) for key in NUMBERS] if found and twin else []
        objections.append([f"{case.turn}: {key} {ours}, as drawn {theirs}" for key, ours, theirs in pairs if not same(ours, theirs)])
    return objections


def same(one: float | None, other: float | None) -> bool:
    """Both absent, or equal within 0.1 %."""
    return one == other if one is None or other is None else abs(one - other) <= 1e-3 * abs(other)


def cells(found: dict | None) -> list[str]:
    """The table cells of one phantom, without its name."""
    if found is None:
        return ["", *["not measured"] * (len(NUMBERS) + 1)]
    numbers = [f"{wanted:.1f} → {reason if value is None else f'{value:.1f}'}" for wanted, value, reason in found["numbers"].values()]
    error = f"{found['error']:.1f} ({found['segments']}, {found['directions']})" if found["error"] is not None else "none"
    return [found["geometry"], *numbers, error]


def summary(all_found: list[dict | None]) -> list[str]:
    """Mean and largest absolute difference over all phantoms that were measured, each with how many these are."""
    measured = [found for found in all_found if found]
    off = {}
    for key, (_, name, _) in NUMBERS.items():
        pairs = [found["numbers"][key][:2] for found in measured]
        off[name] = [abs(value - wanted) for wanted, value in pairs if value is not None]
    off["transmurality by segment"] = [found["error"] for found in measured if found["error"] is not None]
    units = {name: unit for _, name, unit in NUMBERS.values()}
    return [
        f"- {name}: off by {sum(values) / len(values):.1f} {units.get(name, 'points')} on average, {max(values):.1f} in the worst phantom "
        f"({len(values)} of {len(all_found)} phantoms)"
        for name, values in off.items()
        if values
    ]


def table(cases: list[Case], all_found: list[dict | None]) -> str:
    """Truth against measured, every phantom of the plan, as Markdown."""
    head = ["phantom", "pixel, planes, long axis", "LV mass, g", "LGE mass, g", "burden, %", "transmurality, points"]
    rows = [head, ["---"] * len(head), *[[f"`{case}`", *cells(found)] for case, found in zip(cases, all_found, strict=True)]]
    lines = [
        "## Golden studies: truth → measured",
        "",
        "Synthetic studies. They check the plumbing; agreement says nothing about accuracy in patients. Every phantom that was",
        "drawn is here. Transmurality: mean absolute error over the AHA segments with a value (how many, and whether the",
        "anatomical directions were found in the images or only estimated).",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *summary(all_found),
    ]
    return "\n".join(lines)

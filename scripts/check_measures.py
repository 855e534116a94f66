"""Works out the measures of a segmentation once more with scipy and scikit-image, and compares them with ours.

Reads the DICOM SEG and the measures that `scargate analyze` wrote: masses, burden, transmurality of each AHA segment, lesions.
Own way throughout: radial chords in patient space on an upsampled signed distance, nothing of the gateway's code. Anatomical
directions are taken from the measures (they come from the images, which are not read here). Exit status 1 when a mass,
the burden or an area differs by more than 2 %, or the transmurality of a segment by more than 2 points (5 beside an open ring).
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import pydicom
from scipy import ndimage, optimize
from skimage import measure

DENSITY = 1.05  # g/mL
MYOCARDIUM = 2  # SegmentNumber
ANGLES = 720
# Points of transmurality: where all rings of the level are whole, and where one is open. Beside a gap the two kinds of chord
# (radial here, centreline there) do not see the same wall.
LIMIT, LIMIT_OPEN = 2, 5


def read_seg(path: pathlib.Path) -> tuple[dict, list]:
    """Masks by position: {position: {segment number: mask}} and the geometry shared by all frames."""
    ds = pydicom.dcmread(path)
    shared = ds.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, dtype=float)
    bits = np.unpackbits(np.frombuffer(ds.PixelData, dtype=np.uint8), bitorder="little")
    size = ds.Rows * ds.Columns
    planes: dict = {}
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        position = tuple(float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient)
        segment = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        mask = bits[number * size : (number + 1) * size].reshape(ds.Rows, ds.Columns).astype(bool)
        planes.setdefault(position, {})[segment] = mask
        if segment == MYOCARDIUM:  # to the end: positions then stand in the order of the wall's frames
            planes[position] = planes.pop(position)
    row, column = orientation[:3], orientation[3:]
    return planes, [row, column, spacing]


class Slice:
    """One position: masks, geometry, and what it adds to the sums."""

    def __init__(self, position, masks, geometry, height):
        self.position, (self.row, self.column, self.spacing) = np.array(position), geometry
        shape = next(iter(masks.values())).shape
        empty = np.zeros(shape, bool)
        self.cavity, self.wall, self.scar, self.no_reflow = (masks.get(k, empty) for k in (1, 2, 3, 4))
        self.height = height
        self.ml = self.spacing.prod() * height / 1000

    def mass(self, mask) -> float:
        return mask.sum() * self.ml * DENSITY

    def patient(self, rows, columns):
        return (
            self.position
            + np.multiply.outer(columns * self.spacing[1], self.row)
            + np.multiply.outer(rows * self.spacing[0], self.column)
        )

    def pixel(self, points):
        offset = points - self.position
        return offset @ self.column / self.spacing[0], offset @ self.row / self.spacing[1]


def chords(plane: Slice, septum, anterior):
    """Angles (degrees from mid-septum toward anterior) and share of the wall that is scar, NaN without a wall."""
    inside = ndimage.binary_fill_holes(plane.cavity)
    rows, columns = ndimage.center_of_mass(inside)
    centre = plane.patient(np.array(rows), np.array(columns))
    angles = np.arange(ANGLES) * 360 / ANGLES
    steps = np.arange(0, 60, 0.1)
    rad = np.radians(angles)[:, None, None]
    directions = np.cos(rad) * septum + np.sin(rad) * anterior
    where = plane.pixel(centre + steps[None, :, None] * directions)
    wall = ndimage.map_coordinates(plane.wall.astype(float), where, order=1)
    scar = ndimage.map_coordinates((plane.scar & plane.wall).astype(float), where, order=1)
    length, scarred = wall.sum(1) * 0.1, scar.sum(1) * 0.1
    valid = length >= 1.5 * np.sqrt(plane.spacing.prod())
    return angles, np.where(valid, scarred / np.maximum(length, 1e-9), np.nan)


def segment_numbers(level: str, angles, insertion: float):
    """AHA numbers of directions."""
    if level == "apical":
        return np.array([14, 13, 16, 15])[(((angles + 45) % 360) // 90).astype(int)]
    first = {"basal": 0, "mid": 6}[level]
    return first + np.array([2, 3, 4, 5, 6, 1])[(((insertion - angles) % 360) // 60).astype(int)]


def level_of(role) -> str | None:
    """basal, mid or apical: of a slice by its role, of a segment by its number."""
    if isinstance(role, int):
        return "basal" if role <= 6 else "mid" if role <= 12 else "apical"
    return role["ring"] if isinstance(role, dict) else None


def value(measured):
    return measured.get("value")


def compare(name, ours, theirs, limit, findings, relative=True):
    off = abs(ours - theirs) / max(abs(theirs), 1e-9) * 100 if relative else abs(ours - theirs)
    print(f"{name:34} ours {ours:9.3f}  here {theirs:9.3f}  off {off:6.2f} {'%' if relative else 'points'}")
    if off > limit:
        findings.append(f"{name}: {ours:.3f} against {theirs:.3f}")


def lesions(slices, ours, findings):
    """Count in 3-D and area, solidity, circularity of the lesions of each slice, largest first."""
    stack = np.stack([plane.scar for plane in slices])
    count = ndimage.label(stack, np.ones((3, 3, 3)))[1]
    if count != ours["lesion_count"]:
        findings.append(f"lesions: {ours['lesion_count']} against {count}")
    found = []
    for plane in slices:
        labels, n = ndimage.label(plane.scar, np.ones((3, 3)))
        for k in range(1, n + 1):
            lines = [line * plane.spacing for line in measure.find_contours(np.pad(labels == k, 1).astype(float), 0.5, fully_connected="high")]
            areas = [0.5 * np.sum(p[:-1, 0] * p[1:, 1] - p[1:, 0] * p[:-1, 1]) for p in lines]
            outer = int(np.argmax(np.abs(areas)))
            area = abs(areas[outer]) - sum(abs(a) for i, a in enumerate(areas) if i != outer)
            perimeter = np.sum(np.linalg.norm(np.diff(lines[outer], axis=0), axis=1))
            found.append((area, min(1, 4 * np.pi * area / perimeter**2)))
    mine = [(lesion["area_mm2"], lesion["circularity"]) for lesion in ours["lesions"]]
    if len(mine) != len(found):
        findings.append(f"lesions of slices: {len(mine)} against {len(found)}")
    elif mine:
        findings += lesion_findings(np.array(mine), np.array(found))


def lesion_findings(ours, theirs):
    """Lesions as (area, circularity) that differ from their most similar partner; lesions of one area occur."""
    off = np.stack([np.abs(ours[:, None, 0] / theirs[None, :, 0] - 1), np.abs(ours[:, None, 1] - theirs[None, :, 1])])
    pairs = zip(*optimize.linear_sum_assignment(off.sum(axis=0)), strict=True)
    differ = [(ours[i], theirs[k]) for i, k in pairs if off[:, i, k].max() > 0.02]
    return [f"lesion: {a[0]:.1f} mm2, {a[1]:.3f} against {b[0]:.1f}, {b[1]:.3f}" for a, b in differ]


def transmurality(slices, measures, findings):
    directions = value(measures["segments"]["directions"])
    if directions is None:
        return
    septum, axis = np.array(directions["septum"]), np.array(directions["base_to_apex"])
    anterior = np.cross(septum, axis)
    sums = np.zeros((17, 2))
    levels = {entry["index"]: entry["role"] for entry in measures["segments"]["slices"]}
    open_rings = {level_of(entry["role"]) for entry in measures["segments"]["slices"] if entry.get("coverage", 100) < 100}
    heights = {entry["index"]: entry["height_mm"] for entry in measures["slices"]}
    for plane in slices:
        role = levels.get(plane.index)
        if not isinstance(role, dict):
            continue
        angles, shares = chords(plane, septum, anterior)
        numbers = segment_numbers(role["ring"], angles, directions["anterior_insertion_deg"])
        for number in range(1, 17):
            here = (numbers == number) & ~np.isnan(shares)
            sums[number] += heights[plane.index] * np.array([shares[here].sum(), here.sum()])
    for entry in measures["segments"]["segments"]:
        ours, (scar, count) = value(entry["transmurality"]), sums[entry["segment"]]
        if ours is not None and count:
            limit = LIMIT_OPEN if level_of(entry["segment"]) in open_rings else LIMIT
            compare(f"transmurality, segment {entry['segment']}", ours["mean"], 100 * scar / count, limit, findings, relative=False)


def findings(seg: pathlib.Path, measures: dict) -> list[str]:
    """Where our measures and this computation differ."""
    found: list[str] = []
    planes, geometry = read_seg(seg)
    # Frames of a segment stand in the order of the stack, and only slices with a wall have measures.
    walled = [place for place, masks in planes.items() if masks.get(MYOCARDIUM) is not None and masks[MYOCARDIUM].any()]
    ours = sorted(measures["slices"], key=lambda s: s["index"])
    if len(walled) != len(ours):
        return [f"slices with a wall: {len(ours)} against {len(walled)}"]
    slices = []
    for place, entry in zip(walled, ours, strict=True):
        plane = Slice(place, planes[place], geometry, entry["height_mm"])
        plane.index = entry["index"]
        slices.append(plane)
    lv, scar = sum(s.mass(s.wall) for s in slices), sum(s.mass(s.scar) for s in slices)
    for name, key, theirs in [("LV mass, g", "lv_mass", lv), ("scar mass, g", "scar_mass", scar), ("burden, %", "burden", 100 * scar / lv)]:
        if (mine := value(measures[key])) is not None:
            compare(name, mine, theirs, 2, found)
    lesions(slices, measures["segments"], found)
    transmurality(slices, measures, found)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seg", type=pathlib.Path, help="seg.dcm")
    parser.add_argument("measures", type=pathlib.Path, help="measures.json of the same run")
    args = parser.parse_args()
    found = findings(args.seg, json.loads(args.measures.read_text()))
    print("\n".join(found) or "measures agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

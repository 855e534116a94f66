"""Judges DICOM SEG files with tools that share no code with ours: dciodvfy, pydicom and highdicom.

Zero errors and zero warnings of dciodvfy is the bar, but for the designator of our private code scheme. With --masks the segments that highdicom reads back, per source
instance, must equal an array to the pixel. Exit status 1 when anything differs.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

import highdicom
import numpy as np
import pydicom

# What dciodvfy cannot know: the designator of our private scheme, which the object declares itself.
PRIVATE_SCHEME = r"Unrecognized defined term <99SCARGATE>"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def dciodvfy_findings(path: pathlib.Path, allowed: list[str], iod: str = "Segmentation") -> list[str]:
    """Errors and warnings of dciodvfy that no pattern allows, and another IOD than expected."""
    if shutil.which("dciodvfy") is None:
        return ["dciodvfy is not installed; run scripts/install.sh"]
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    found = [line for line in lines if re.match(r"(Error|Warning)\b", line)]
    found = [line for line in found if not any(re.search(pattern, line) for pattern in allowed)]
    if not lines or lines[0].strip() != iod:
        found.append(f"took it for {lines[0].strip() if lines else 'nothing'}, not {iod}")
    return [f"dciodvfy: {line}" for line in found]


def read(path: pathlib.Path) -> highdicom.seg.Segmentation:
    """The file as highdicom's Segmentation."""
    dataset = pydicom.dcmread(path)
    if dataset.SOPClassUID != SEGMENTATION:
        raise SystemExit(f"{path}: SOP class {dataset.SOPClassUID} is not Segmentation Storage")
    return highdicom.seg.Segmentation.from_dataset(dataset, copy=False)


def pixels(seg: highdicom.seg.Segmentation, sources: list[str], frames: int | None) -> np.ndarray:
    """Masks as [segment, slice, row, column], in the order of the sources; slices without frames are empty."""
    if frames is None:
        found = seg.get_pixels_by_source_instance(
            source_sop_instance_uids=sources, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
        )
    else:
        found = seg.get_pixels_by_source_frame(
            source_sop_instance_uid=sources[0],
            source_frame_numbers=list(range(1, frames + 1)),
            assert_missing_frames_are_empty=True,
            ignore_spatial_locations=True,
        )
    return np.moveaxis(found, -1, 0)


def differences(found: np.ndarray, wanted: np.ndarray) -> list[str]:
    """Each segment that differs, with how many pixels."""
    if found.shape != wanted.shape:
        return [f"highdicom: shape {found.shape} read, {wanted.shape} expected (segments, slices, rows, columns)"]
    counts = (found.astype(bool) != wanted.astype(bool)).sum(axis=(1, 2, 3))
    return [f"highdicom: segment {n}: {count} pixels differ" for n, count in enumerate(counts, 1) if count]


def source_findings(seg: highdicom.seg.Segmentation, folder: pathlib.Path) -> list[str]:
    """References and geometry against the source instances in a folder."""
    sources = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and pydicom.misc.is_dicom(path):
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            sources[dataset.SOPInstanceUID] = dataset
    found, taken = [], seg.get_source_image_uids()
    for study, _, instance in taken:
        source = sources.get(instance)
        if source is None:
            found.append("sources: an instance is referenced that is not in the folder")
        elif source.StudyInstanceUID != study or source.PatientID != seg.PatientID:
            found.append("sources: study or patient of a referenced instance differs")
        elif source.get("FrameOfReferenceUID") != seg.get("FrameOfReferenceUID"):
            found.append("sources: frame of reference of a referenced instance differs")
    return found if taken else ["sources: no source image is referenced"]


def describe(path: pathlib.Path, seg: highdicom.seg.Segmentation) -> str:
    """One line per segment for people."""
    lines = [f"{path}: {seg.Rows} x {seg.Columns}, {seg.NumberOfFrames} frames, {seg.number_of_segments} segments"]
    for number in seg.segment_numbers:
        description = seg.get_segment_description(number)
        used = sum(1 for item in seg.PerFrameFunctionalGroupsSequence if frame_segment(item) == number)
        lines.append(f"  {number} {description.segment_label}: {used} frames")
    return "\n".join(lines)


def frame_segment(item: pydicom.Dataset) -> int:
    """Segment number of a frame."""
    return item.SegmentIdentificationSequence[0].ReferencedSegmentNumber


def findings(path: pathlib.Path, args: argparse.Namespace) -> list[str]:
    """All that is wrong with one file."""
    found = dciodvfy_findings(path, args.allow)
    try:
        seg = read(path)
        print(describe(path, seg))
        if args.sources:
            found += source_findings(seg, args.sources)
        if args.masks:
            masks = pixels(seg, args.instances.read_text().split(), args.frames)
            found += differences(masks, np.load(args.masks))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        found.append(f"highdicom: refuses it: {error}")
    return found


def arguments(values: list[str]) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="SEG files; with --masks exactly one")
    parser.add_argument("--masks", type=pathlib.Path, help=".npy, [segment, slice, row, column], 0 or not 0")
    parser.add_argument("--instances", type=pathlib.Path, help="text file, a source SOP Instance UID per line, in slice order")
    parser.add_argument("--frames", type=int, help="the source is one multi-frame instance with so many frames")
    parser.add_argument("--sources", type=pathlib.Path, help="folder of source DICOM: check references and geometry")
    parser.add_argument(
        "--allow", action="append", default=[PRIVATE_SCHEME], metavar="REGEX", help="another dciodvfy line that is accepted"
    )
    args = parser.parse_args(values)
    if args.masks and (len(args.files) != 1 or not args.instances):
        parser.error("--masks needs one file and --instances")
    return args


def main() -> int:
    args = arguments(sys.argv[1:])
    problems = []
    for path in args.files:
        problems += [f"{path}: {finding}" for finding in findings(path, args)]
    print("\n".join(problems) or "no error, no warning")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Judges the DICOM objects beside the SEG (SR, result images, rejection note) with tools that share no code with ours.

dciodvfy: no error and no warning but for the designator of our private code scheme. An SR is read by highdicom, dcmqi's
tid1500reader and DCMTK's dsrdump; with --seg its groups must name the SEG's segments and tracking UIDs, with --measures its
numbers must be those of measures.json. Pictures are decoded by pydicom. Exit status 1 when anything differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import check_seg
import highdicom
import pydicom

IODS = {
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive3DSR",
    "1.2.840.10008.5.1.4.1.1.88.59": "KeyObjectSelectionDocument",
    "1.2.840.10008.5.1.4.1.1.7.4": "MultiframeTrueColorSCImage",
}
# What the SR says of the whole ventricle: (finding, name) -> key of measures.json.
NUMBERS = {
    ("49848007", "118538004"): "lv_mass",
    ("12402003", "118538004"): "scar_mass",
    ("12402003", "LGE-BURDEN"): "burden",
    ("LGE-MVO", "118538004"): "no_reflow_mass",
    ("LGE-MVO", "LGE-MVO-LV"): "no_reflow_of_myocardium",
    ("LGE-MVO", "LGE-MVO-SCAR"): "no_reflow_of_scar",
}


def run(tool: str, *arguments: object) -> str | None:
    """What a command line tool objects to, None when it is content."""
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, errors="replace", check=False)
    return f"{pathlib.Path(tool).name}: {(done.stderr or done.stdout).strip()[-400:]}" if done.returncode else None


def group_numbers(report: highdicom.sr.Comprehensive3DSR) -> dict[tuple[str, str], float]:
    """(finding, name) -> value of every number in a group about a segment of a SEG."""
    found = {}
    for group in report.content.get_volumetric_roi_measurement_groups():
        for item in group:
            for child in item.ContentSequence:
                if child.ValueType == "NUM":
                    name = child.ConceptNameCodeSequence[0].CodeValue
                    found[group.finding_type.value, name] = float(child.MeasuredValueSequence[0].NumericValue)
    return found


def number_findings(report: highdicom.sr.Comprehensive3DSR, measures: dict) -> list[str]:
    """Where the report and the measures differ by more than the rounding to 0.1."""
    numbers, found = group_numbers(report), []
    for (finding, name), key in NUMBERS.items():
        wanted, value = measures[key].get("value"), numbers.get((finding, name))
        if (wanted is None) != (value is None) or (wanted is not None and abs(value - wanted) > 0.0501):
            found.append(f"SR: {key} is {value}, measured {wanted}")
    return found


def segment_findings(report: highdicom.sr.Comprehensive3DSR, seg: pydicom.Dataset) -> list[str]:
    """Groups that do not name an existing segment of the SEG by number and tracking UID."""
    tracking = {segment.SegmentNumber: segment.TrackingUID for segment in seg.SegmentSequence}
    found = []
    for group in report.content.get_volumetric_roi_measurement_groups():
        reference = group.referenced_segment
        numbers = list(reference.referenced_segment_numbers)
        if reference.referenced_sop_instance_uid != seg.SOPInstanceUID:
            found.append("SR: a group names another SEG")
        elif [tracking.get(number) for number in numbers] != [group.tracking_uid]:
            found.append(f"SR: segment {numbers} has another TrackingUID than its group")
    evidence = [
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    if seg.SOPInstanceUID not in evidence:
        found.append("SR: the SEG is not in the evidence")
    return found


def dcmqi_findings(path: pathlib.Path, report: highdicom.sr.Comprehensive3DSR) -> list[str]:
    """Objections of tid1500reader, and other measurement groups than those that highdicom finds, or fewer numbers in them."""
    with tempfile.TemporaryDirectory() as folder:
        written = pathlib.Path(folder) / "sr.json"
        refused = run(str(pathlib.Path(sys.executable).parent / "tid1500reader"), "--inputDICOM", path, "--outputMetadata", written)
        if refused:
            return [refused]
        theirs = [len(group.get("measurementItems", [])) for group in json.loads(written.read_text()).get("Measurements", [])]
    groups = [*report.content.get_volumetric_roi_measurement_groups(), *report.content.get_image_measurement_groups()]
    wanted = [len(group.get_measurements()) for group in groups]
    return [] if theirs == wanted and wanted else [f"tid1500reader: numbers by group {theirs}, highdicom {wanted}"]


def sr_findings(path: pathlib.Path, args: argparse.Namespace) -> list[str]:
    """What three readers and the measures object to."""
    report = highdicom.sr.srread(path)
    found = [run("dsrdump", path), *dcmqi_findings(path, report)]
    if report.VerificationFlag != "UNVERIFIED":
        found.append(f"SR: {report.VerificationFlag}")
    if args.seg:
        found += segment_findings(report, pydicom.dcmread(args.seg, stop_before_pixels=True))
    if args.measures:
        found += number_findings(report, json.loads(args.measures.read_text()))
    return [finding for finding in found if finding]


def picture_findings(path: pathlib.Path) -> list[str]:
    """Frames that cannot be decoded, are empty, or carry text about the patient."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array
    found = [f"frame {n} is empty" for n, frame in enumerate(frames, 1) if frame.max() == 0]
    if len(dataset.FrameLabelVector) != len(frames):
        found.append("as many labels as frames are needed")
    return found


def note_findings(path: pathlib.Path, retires: list[str]) -> list[str]:
    """A note that DCMTK cannot read, that retires other objects, or whose items are not its evidence."""
    dataset = pydicom.dcmread(path)
    listed = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in dataset.ContentSequence if "ReferencedSOPSequence" in item]
    evidence = [
        item.ReferencedSOPInstanceUID
        for study in dataset.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    found = [run("dsrdump", path)]
    if retires and sorted(listed) != sorted(retires):
        found.append(f"note: retires {len(listed)} objects, not those wanted")
    if sorted(listed) != sorted(evidence) or not listed:
        found.append("note: items and evidence differ")
    return [finding for finding in found if finding]


def findings(path: pathlib.Path, args: argparse.Namespace) -> list[str]:
    """Everything wrong with one file."""
    kind = IODS.get(str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID))
    if kind is None:
        return ["none of the objects that this script knows"]
    found = check_seg.dciodvfy_findings(path, [check_seg.PRIVATE_SCHEME], kind)
    special = {"Comprehensive3DSR": lambda: sr_findings(path, args), "KeyObjectSelectionDocument": lambda: note_findings(path, args.retires)}
    return found + special.get(kind, lambda: picture_findings(path))()


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--seg", type=pathlib.Path, help="SEG that the SR is about")
    parser.add_argument("--measures", type=pathlib.Path, help="measures.json of the same result")
    parser.add_argument("--retires", action="append", default=[], metavar="UID", help="SOP Instance UID that the note must name")
    return parser.parse_args(given)


def main() -> int:
    args, bad = arguments(), 0
    for path in args.files:
        found = findings(path, args)
        bad += bool(found)
        print(f"{path}: {'ok' if not found else ''}")
        for finding in found:
            print(f"  {finding}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

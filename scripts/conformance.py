"""Puts the outputs of many phantoms before every independent DICOM and FHIR reader at hand; writes a report.

Each phantom is drawn by `scargate phantom` and measured by `scargate analyze`, with no server. The SEG goes to dciodvfy,
highdicom, pydicom and dcmqi, SR and result images to check_report.py, the Bundle to fhirkit and pyrofile. Exit status 1 when any of them objects. Synthetic
studies: this checks formats, not accuracy.
"""

import argparse
import contextlib
import io
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import check_fhir
import check_measures
import check_report
import check_seg
import pyrofile_validator

ROOT = pathlib.Path(__file__).resolve().parent.parent
STYLES = ["siemens", "ge", "philips"]
SHAPES = [[], ["--enhanced"]]
SCARS = [[], ["--variant", "scar-free"], ["--scar", "lad:0.9:50:mvo"]]


class Run:
    """The command under test with its configuration."""

    def __init__(self, binary: pathlib.Path, config: pathlib.Path | None):
        self.start = [str(binary), *(["--config", str(config)] if config else [])]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [*self.start, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def dcmqi_findings(seg: pathlib.Path, out: pathlib.Path) -> list[str]:
    """Objections of dcmqi's reader, which shares no code with highdicom (it is built on DCMTK)."""
    tool = pathlib.Path(sys.executable).parent / "segimage2itkimage"
    out.mkdir()
    command = [tool, "--inputDICOM", seg, "--outputDirectory", out, "--outputType", "nii"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not (out / "meta.json").exists():
        return [f"dcmqi: {(done.stderr or done.stdout).strip()[-300:]}"]
    return []


def judge(result: pathlib.Path, sources: pathlib.Path, validator) -> list[str]:
    """What is wrong with the outputs of one study."""
    seg = result / "seg.dcm"
    args = check_seg.arguments([str(seg), "--sources", str(sources)])
    with contextlib.redirect_stdout(io.StringIO()):
        found = check_seg.findings(seg, args)
        found += check_measures.findings(seg, json.loads((result / "measures.json").read_text()))
    found += dcmqi_findings(seg, result / "dcmqi")
    more = check_report.arguments([str(seg), "--seg", str(seg), "--measures", str(result / "measures.json")])
    for name in ("sr.dcm", "result-image.dcm"):
        found += [f"{name}: {finding}" for finding in check_report.findings(result / name, more)]
    return found + check_fhir.findings(validator, json.loads((result / "bundle.json").read_text()))


def study_folder(drawn: pathlib.Path) -> pathlib.Path:
    """The folder of the one study that `scargate phantom` wrote."""
    return next(folder for folder in sorted(drawn.iterdir()) if folder.is_dir())


def case(run: Run, options: list[str], folder: pathlib.Path, validator) -> tuple[str, list[str]]:
    """Draws, measures and judges one phantom: its outcome and the objections."""
    drawn = run("phantom", "--out", folder / "phantom", *options)
    if drawn.returncode:
        return "not drawn", [f"phantom: {drawn.stderr.strip()[-300:]}"]
    study = study_folder(folder / "phantom")
    dicom = study / "dicom" if (study / "dicom").is_dir() else study
    measured = run("analyze", dicom, "--out", folder / "result")
    if measured.returncode:
        return "not measured", [f"analyze: status {measured.returncode}: {measured.stderr.strip()[-300:]}"]
    return "measured", judge(folder / "result", dicom, validator)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="scargate")
    parser.add_argument("--config", type=pathlib.Path, help="overlay of the configuration")
    parser.add_argument("--seeds", type=int, default=2, help="phantoms per combination of style, shape and scar")
    parser.add_argument("--report", type=pathlib.Path, help="Markdown file to write")
    args = parser.parse_args()

    run, validator, rows, objections = Run(args.binary.resolve(), args.config), pyrofile_validator.Validator(), [], 0
    for style, shape, scar, seed in itertools.product(STYLES, SHAPES, SCARS, range(1, args.seeds + 1)):
        options = ["--seed", str(100 + seed), "--style", style, *shape, *scar]
        with tempfile.TemporaryDirectory() as folder:
            outcome, found = case(run, options, pathlib.Path(folder), validator)
        objections += len(found)
        rows.append(f"| `{' '.join(options)}` | {outcome} | {'<br>'.join(found) or 'none'} |")
        print(f"{' '.join(options):60} {outcome:14} {len(found)} objections", flush=True)
        for finding in found:
            print(f"    {finding}", flush=True)
    if args.report:
        head = "# Conformance of outputs\n\nMade by `make conformance`. Synthetic studies: formats, not accuracy.\n"
        table = ["| phantom | outcome | objections |", "| --- | --- | --- |", *rows]
        args.report.write_text("\n".join([head, *table, ""]))
    print(f"{len(rows)} phantoms, {objections} objections")
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())

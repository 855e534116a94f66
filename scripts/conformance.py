"""Puts the outputs of many phantoms before every independent DICOM and FHIR reader at hand; writes a report.

Each phantom of golden.py is drawn by `scargate phantom` and measured by `scargate analyze`, with no server. The SEG goes to
dciodvfy, highdicom, pydicom, dcmqi and Cornerstone's adapters, SR and result images to check_report.py, the Bundle to fhirkit
and pyrofile, the PDF to poppler. The report also has truth against measured. Exit status 1 when any reader objects. Synthetic
studies: this checks formats and plumbing, not accuracy.
"""

import argparse
import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import check_cornerstone
import check_fhir
import check_measures
import check_report
import check_seg
import golden
import pyrofile_validator

ROOT = pathlib.Path(__file__).resolve().parent.parent
WARNING = "AI result, not verified"


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


def pdf_findings(pdf: pathlib.Path) -> list[str]:
    """Objections of poppler to the page, and a page without the warning."""
    done = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or done.stderr.strip():
        return [f"pdftotext: {done.stderr.strip()[-300:]}"]
    return [] if WARNING in " ".join(done.stdout.split()) else [f"report.pdf: no '{WARNING}'"]


def judge_seg(result: pathlib.Path, sources: pathlib.Path, measures: dict) -> list[str]:
    """What four readers object to in the SEG, and where measures recomputed from it differ."""
    seg = result / "seg.dcm"
    with contextlib.redirect_stdout(io.StringIO()):
        found = check_seg.findings(seg, check_seg.arguments([str(seg), "--sources", str(sources)]))
        found += check_measures.findings(seg, measures)
    return found + dcmqi_findings(seg, result / "dcmqi") + check_cornerstone.findings(seg, sources, measures)


def judge(result: pathlib.Path, sources: pathlib.Path, validator) -> list[str]:
    """What is wrong with the outputs of one study."""
    seg, measures = result / "seg.dcm", result / "measures.json"
    found = judge_seg(result, sources, json.loads(measures.read_text()))
    more = check_report.arguments([str(seg), "--seg", str(seg), "--measures", str(measures)])
    for name in ("sr.dcm", "result-image.dcm"):
        found += [f"{name}: {finding}" for finding in check_report.findings(result / name, more)]
    found += check_fhir.findings(validator, json.loads((result / "bundle.json").read_text()))
    return found + pdf_findings(result / "report.pdf")


def study_folder(drawn: pathlib.Path) -> pathlib.Path:
    """The folder of the one study that `scargate phantom` wrote."""
    return next(folder for folder in sorted(drawn.iterdir()) if folder.is_dir())


def examine(run: Run, case: golden.Case, folder: pathlib.Path, validator) -> tuple[str, dict | None, list[str]]:
    """Draws, measures and judges one phantom: its outcome, its figures and the objections."""
    drawn = run("phantom", "--out", folder / "phantom", *case.options.split())
    if drawn.returncode:
        return "not drawn", None, [f"phantom: {drawn.stderr.strip()[-300:]}"]
    study = study_folder(folder / "phantom")
    if case.turn:
        golden.turn(study / "dicom", case.turn)
    measured = run("analyze", study / "dicom", "--out", folder / "result")
    if measured.returncode:
        return "not measured", None, [f"analyze: status {measured.returncode}: {measured.stderr.strip()[-300:]}"]
    return "measured", golden.read(study, folder / "result"), judge(folder / "result", study / "dicom", validator)


def examine_all(run: Run, cases: list[golden.Case]) -> list[tuple[str, dict | None, list[str]]]:
    """Examines each phantom in a folder of its own and says at once what came out."""
    validator, outcomes = pyrofile_validator.Validator(), []
    for case in cases:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(examine(run, case, pathlib.Path(folder), validator))
        outcome, _, found = outcomes[-1]
        print(f"{str(case):80} {outcome:12} {len(found)} objections, {time.monotonic() - start:.0f} s", flush=True)
        print("".join(f"    {finding}\n" for finding in found), end="", flush=True)
    twins = golden.twin_findings(cases, [figures for _, figures, _ in outcomes])
    print("".join(f"{finding}\n" for found in twins for finding in found), end="")
    return [(outcome, figures, found + more) for (outcome, figures, found), more in zip(outcomes, twins, strict=True)]


def report(cases: list[golden.Case], outcomes: list[tuple[str, dict | None, list[str]]], planned: int) -> str:
    """The whole report as Markdown."""
    rows = [f"| `{case}` | {outcome} | {'<br>'.join(found) or 'none'} |" for case, (outcome, _, found) in zip(cases, outcomes, strict=True)]
    lines = [
        "# Conformance of outputs",
        "",
        f"Made by `make conformance`: the first {len(cases)} of the {planned} phantoms of the plan, none left out.",
        "",
        golden.table(cases, [figures for _, figures, _ in outcomes]),
        "",
        "## Objections of independent readers",
        "",
        "| phantom | outcome | objections |",
        "| --- | --- | --- |",
        *rows,
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="scargate")
    parser.add_argument("--config", type=pathlib.Path, help="overlay of the configuration")
    parser.add_argument("--seeds", type=int, default=1, help="how often the plan is gone through, with other hearts each time")
    parser.add_argument("--first", type=int, help="only so many phantoms of the plan, from its beginning")
    parser.add_argument("--report", type=pathlib.Path, help="Markdown file to write")
    args = parser.parse_args()

    planned = golden.plan(args.seeds)
    cases = planned[: args.first]
    outcomes = examine_all(Run(args.binary.resolve(), args.config), cases)
    objections = sum(len(found) for _, _, found in outcomes)
    if args.report:
        args.report.write_text(report(cases, outcomes, len(planned)))
    print("\n".join(golden.summary([figures for _, figures, _ in outcomes])))
    print(f"{len(cases)} phantoms, {objections} objections")
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())

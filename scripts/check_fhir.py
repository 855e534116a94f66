"""Judges FHIR R4 JSON with two independent validators: fhirkit (structure) and pyrofile (bindings, patterns).

Reads resources or Bundles. Exit status 1 when any has an error.
Neither validator knows reference targets, invariants like obs-6, or whether a code exists: the EHR and our own
tests look at those.
"""

import argparse
import json
import pathlib
import sys

import fhirkit
import pyrofile_validator


def findings(validator: pyrofile_validator.Validator, document: dict) -> list[str]:
    """The errors of both validators; each looks into a Bundle's entries by itself."""
    found = [f"fhirkit: {issue}" for issue in fhirkit.validate(document) if issue.severity == "error"]
    for issue in validator.validate_resource(document).issues:
        if issue.severity.value in ("error", "fatal"):
            found.append(f"pyrofile: {issue.path}: {issue.message}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="JSON files")
    args = parser.parse_args()
    validator = pyrofile_validator.Validator()
    problems = []
    for path in args.files:
        problems += [f"{path}: {finding}" for finding in findings(validator, json.loads(path.read_text()))]
    print("\n".join(problems) or f"{len(args.files)} documents, no error")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

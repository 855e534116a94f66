"""Puts a patient, and an imaging order with an accession number, into the test EHR; prints their references.

Searches first, so that running it twice changes nothing. Works on the servers of SCARGATE_STATE (see servers.sh).
"""

import argparse
import base64
import json
import os
import pathlib
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Ehr:
    """A FHIR endpoint with Basic credentials."""

    def __init__(self, state: pathlib.Path):
        lines = (state / "env").read_text().splitlines()
        self.base = dict(line.split("=", 1) for line in lines)["SCARGATE_EHR_URL"]
        password = (state / "secrets" / "ehr-seed").read_text()
        self.token = base64.b64encode(f"scargate-seed:{password}".encode()).decode()

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        """Sends one request; the answer's JSON."""
        request = urllib.request.Request(
            f"{self.base}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {self.token}", "Content-Type": "application/fhir+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error

    def find_or_create(self, resource: dict, force: bool) -> str:
        """The reference of the resource with the same first identifier, created when there is none."""
        kind, identifier = resource["resourceType"], resource["identifier"][0]
        query = urllib.parse.urlencode({"identifier": f"{identifier['system']}|{identifier['value']}"})
        found = self.call("GET", f"{kind}?{query}").get("entry", [])
        if found and not force:
            return f"{kind}/{found[0]['resource']['id']}"
        return f"{kind}/{self.call('POST', kind, resource)['id']}"


def patient(args: argparse.Namespace) -> dict:
    """A Patient; with `--replaced-by` inactive and linked to its successor."""
    resource = {
        "resourceType": "Patient",
        "identifier": [{"system": args.patient_system, "value": args.patient_id}],
        "active": not args.inactive and not args.replaced_by,
        "name": [{"family": args.family, "given": [args.given]}],
        "gender": args.gender,
    }
    if args.birth_date:
        resource["birthDate"] = args.birth_date
    if args.replaced_by:
        resource["link"] = [{"other": {"reference": args.replaced_by}, "type": "replaced-by"}]
    return resource


def order(args: argparse.Namespace, subject: str) -> dict:
    """A ServiceRequest for a cardiac MR with the accession number as identifier (type ACSN)."""
    accession_type = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
    return {
        "resourceType": "ServiceRequest",
        "identifier": [{"type": accession_type, "system": args.accession_system, "value": args.accession}],
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": "http://loinc.org", "code": "24748-6"}], "text": "MR heart"},
        "subject": {"reference": subject},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=pathlib.Path, default=ROOT / os.environ.get("SCARGATE_STATE", ".scargate"))
    parser.add_argument("--patient-id", required=True, help="identifier value: PatientID (0010,0020)")
    parser.add_argument("--patient-system", default="urn:scargate:demo:patient", help="identifier system")
    parser.add_argument("--birth-date", help="YYYY-MM-DD")
    parser.add_argument("--family", default="Phantom")
    parser.add_argument("--given", default="Synthetic")
    parser.add_argument("--gender", default="unknown", choices=["male", "female", "other", "unknown"])
    parser.add_argument("--inactive", action="store_true", help="active = false")
    parser.add_argument("--replaced-by", metavar="REFERENCE", help="a record merged into this one")
    parser.add_argument("--accession", help="also an order with this accession number")
    parser.add_argument("--accession-system", default="urn:scargate:demo:accession")
    parser.add_argument("--order-subject", metavar="REFERENCE", help="an order of another patient (for tests)")
    parser.add_argument("--duplicate", action="store_true", help="create even if there is one (an ambiguous patient)")
    args = parser.parse_args()

    ehr = Ehr(args.state)
    references = {"patient": ehr.find_or_create(patient(args), args.duplicate)}
    if args.accession:
        subject = args.order_subject or references["patient"]
        references["order"] = ehr.find_or_create(order(args, subject), args.duplicate)
    print(json.dumps(references))


if __name__ == "__main__":
    main()

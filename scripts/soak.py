"""Sends studies through all servers for a while and kills servers and the gateway under it, at random.

At the end everything is started and left alone until no run is in flight. Then each study must have exactly one SEG in
the PACS and each Observation exactly once in the EHR, and the ledger must verify. Exit status 1 otherwise. Works on the
servers of SCARGATE_STATE; the order of the disturbances follows from --seed.
"""

import argparse
import base64
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import seed_ehr

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENDED = {"completed", "rejected", "failed", "cancelled", "superseded", "unchanged"}
VICTIMS = ["gateway", "gateway", "postgres", "rabbitmq", "orthanc", "ehr"]
SETTLE_SECONDS = 600


class Stage:
    """The servers, the gateway as a process, and what was sent."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.state = args, args.state
        lines = (self.state / "env").read_text().splitlines()
        self.env = dict(line.split("=", 1) for line in lines)
        self.log = (self.state / "log" / "soak-gateway.log").open("a")
        self.gateway = None
        self.studies: dict[str, str] = {}
        self.events: collections.Counter = collections.Counter()

    def scargate(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs one command of the gateway to its end."""
        command = [self.args.binary, "--config", self.state / "dev.toml", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    def servers(self, command: str, *names: str) -> None:
        """`scripts/servers.sh` on this set."""
        script = [ROOT / "scripts" / "servers.sh", command, *names]
        done = subprocess.run(script, env=os.environ | {"SCARGATE_STATE": str(self.state)}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"servers.sh {command}: {done.stderr}")

    def start_gateway(self) -> None:
        """Starts `scargate serve` unless it runs."""
        if self.gateway is None or self.gateway.poll() is not None:
            command = [self.args.binary, "--config", self.state / "dev.toml", "serve"]
            self.gateway = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=ROOT)

    def stop_gateway(self, how: signal.Signals) -> None:
        """Signals the gateway and waits for its end."""
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.send_signal(how)
            self.gateway.wait()

    def disturb(self, chance: random.Random) -> None:
        """Kills one of them, waits a little, starts it again."""
        victim, pause = chance.choice(VICTIMS), chance.uniform(0.5, 12)
        self.events[f"{victim} killed"] += 1
        print(f"    {victim} killed for {pause:.0f} s", flush=True)
        if victim == "gateway":
            self.stop_gateway(signal.SIGKILL)
            time.sleep(pause)
        else:
            self.servers("kill", victim)
            time.sleep(pause)
            self.servers("up", victim)
        self.start_gateway()

    def pacs(self, path: str, data: bytes | None = None) -> bytes:
        """One request to the PACS's REST interface."""
        token = base64.b64encode(b"scargate:" + (self.state / "secrets" / "orthanc").read_bytes()).decode()
        url = f"http://127.0.0.1:{self.env['SCARGATE_PACS_PORT']}{path}"
        request = urllib.request.Request(url, data=data, headers={"Authorization": f"Basic {token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def send_study(self, number: int) -> None:
        """A phantom of its own patient: into the EHR first, then into the PACS."""
        folder = self.state / "soak" / str(number)
        patient = f"SOAK-{os.getpid()}-{number}"
        drawn = self.scargate(
            "phantom", "--out", str(folder), "--seed", str(1000 + number), "--matrix", "128", "--phases", "1",
            "--patient-id", patient, "--issuer", "", "--birth-date", "19600214", "--accession", f"S{os.getpid()}{number}"[:16],
        )  # fmt: skip
        if drawn.returncode:
            raise SystemExit(f"scargate phantom: {drawn.stderr}")
        command = [sys.executable, ROOT / "scripts" / "seed_ehr.py", "--state", self.state, "--patient-id", patient, "--birth-date", "1960-02-14"]
        reference = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["patient"]
        files = [path for path in sorted(folder.rglob("*.dcm")) if "truth" not in path.name]
        study = ""
        for path in files:
            stored = json.loads(self.pacs("/instances", path.read_bytes()))
            study = study or json.loads(self.pacs(f"/studies/{stored['ParentStudy']}"))["MainDicomTags"]["StudyInstanceUID"]
        self.studies[study] = reference
        self.events["studies sent"] += 1

    def runs(self) -> list[dict] | None:
        """All runs of the studies sent, or None while the gateway cannot say."""
        try:
            found = []
            for study in self.studies:
                url = f"http://127.0.0.1:{self.env['SCARGATE_GATEWAY_PORT']}/api/v1/runs?study={study}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    found.append(json.load(answer)["runs"])
        except (OSError, urllib.error.URLError):
            return None
        return [run for runs in found for run in runs] if all(found) else None

    def settle(self) -> list[dict]:
        """Waits until each study has a run and none is in flight."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            self.start_gateway()
            runs = self.runs()
            if runs is not None and all(run["state"] in ENDED for run in runs):
                return runs
            time.sleep(2)
        raise SystemExit(f"runs still in flight after {SETTLE_SECONDS} s: {self.runs()}")

    def objections(self, runs: list[dict]) -> list[str]:
        """What is not exactly once."""
        found = [f"a run ended {run['state']}: {run.get('code')}" for run in runs if run["state"] not in ("completed", "unchanged")]
        ehr = seed_ehr.Ehr(self.state)
        for study, patient in self.studies.items():
            listed = json.loads(self.pacs(f"/dicom-web/studies/{study}/instances?includefield=00080060"))
            segs = [item for item in listed if item["00080060"]["Value"] == ["SEG"]]
            if len(segs) != 1:
                found.append(f"{len(segs)} SEG instead of 1 for a study")
            entries = ehr.call("GET", f"Observation?subject={patient}&_count=200").get("entry", [])
            lines = collections.Counter(entry["resource"]["identifier"][0]["value"] for entry in entries)
            if not lines or max(lines.values()) > 1:
                found.append(f"Observations of a patient: {len(lines)} lines, up to {max(lines.values(), default=0)} times")
        verified = self.scargate("audit", "verify")
        if verified.returncode:
            found.append(f"audit verify: {verified.stdout}{verified.stderr}")
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="scargate")
    parser.add_argument("--state", type=pathlib.Path, required=True, help="folder of the servers")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=20, help="seconds between studies")
    args = parser.parse_args()
    args.binary = args.binary.resolve()

    stage, chance = Stage(args), random.Random(args.seed)
    stage.start_gateway()
    end, number = time.monotonic() + 60 * args.minutes, 0
    try:
        while time.monotonic() < end:
            number += 1
            stage.send_study(number)
            print(f"study {number} sent", flush=True)
            time.sleep(chance.uniform(0, args.every))
            stage.disturb(chance)
        objections = stage.objections(stage.settle())
    finally:
        stage.stop_gateway(signal.SIGTERM)
    print(", ".join(f"{count} x {event}" for event, count in sorted(stage.events.items())))
    print("\n".join(objections) or "each study exactly once in PACS and EHR, ledger verified, nothing in flight")
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())

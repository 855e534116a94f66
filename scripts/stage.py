"""One set of servers with the gateway as a process on it: what the soak and the benchmark both do."""

import base64
import collections
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENDED = {"completed", "rejected", "failed", "cancelled", "superseded", "unchanged"}
SETTLE_SECONDS = 600


class Stage:
    """The servers of one state folder, the gateway as a process, and what was sent."""

    def __init__(self, binary: pathlib.Path, state: pathlib.Path, name: str, overlays: tuple[pathlib.Path, ...] = ()):
        self.state, self.name = state, name
        self.command = [binary.resolve()]
        for config in (state / "dev.toml", *overlays):
            self.command += ["--config", config]
        lines = (self.state / "env").read_text().splitlines()
        self.env = dict(line.split("=", 1) for line in lines)
        self.log = (self.state / "log" / f"{self.name}-gateway.log").open("a")
        self.gateway = None
        self.studies: dict[str, str] = {}
        self.events: collections.Counter = collections.Counter()

    def scargate(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs one command of the gateway to its end."""
        return subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)

    def servers(self, command: str, *names: str) -> None:
        """`scripts/servers.sh` on this set."""
        script = [ROOT / "scripts" / "servers.sh", command, *names]
        done = subprocess.run(script, env=os.environ | {"SCARGATE_STATE": str(self.state)}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"servers.sh {command}: {done.stderr}")

    def start_gateway(self) -> None:
        """Starts `scargate serve` unless it runs."""
        if self.gateway is None or self.gateway.poll() is not None:
            self.gateway = subprocess.Popen([*self.command, "serve"], stdout=self.log, stderr=self.log, cwd=ROOT)

    def stop_gateway(self, how: signal.Signals) -> None:
        """Signals the gateway and waits for its end."""
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.send_signal(how)
            self.gateway.wait()

    def pacs(self, path: str, data: bytes | None = None) -> bytes:
        """One request to the PACS's REST interface."""
        token = base64.b64encode(b"scargate:" + (self.state / "secrets" / "orthanc").read_bytes()).decode()
        url = f"http://127.0.0.1:{self.env['SCARGATE_PACS_PORT']}{path}"
        request = urllib.request.Request(url, data=data, headers={"Authorization": f"Basic {token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def send_study(self, number: int, *options: str) -> str:
        """A phantom of its own patient: into the EHR first, then into the PACS. Its StudyInstanceUID."""
        folder = self.state / self.name / str(number)
        patient = f"{self.name.upper()}-{os.getpid()}-{number}"
        drawn = self.scargate(
            "phantom", "--out", str(folder), "--seed", str(1000 + number), *options,
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
        return study

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

    def api(self, path: str, data: bytes | None = None) -> dict:
        """One request to the gateway."""
        url = f"http://127.0.0.1:{self.env['SCARGATE_GATEWAY_PORT']}/api/v1{path}"
        headers = {"Content-Type": "application/json"} if data else {}
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=10) as answer:
            return json.load(answer)

    def release_held(self, run: str) -> dict:
        """What a person does with a result that a rule holds for review: lets it go. The run as it was before."""
        state = self.api(f"/runs/{run}")
        for delivery in state["deliveries"]:
            if delivery["state"] == "held":
                self.api(f"/deliveries/{delivery['id']}/release", b"{}")
                self.events["held results released"] += 1
        return state

    def settle(self) -> list[dict]:
        """Waits until each study has a run and none is in flight."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            self.start_gateway()
            runs = self.runs()
            if runs is not None and all(run["state"] in ENDED for run in runs):
                return runs
            with contextlib.suppress(OSError):
                for run in runs or []:
                    self.release_held(run["id"])
            time.sleep(2)
        raise SystemExit(f"runs still in flight after {SETTLE_SECONDS} s: {self.runs()}")

"""Sends studies through all servers for a while and kills servers and the gateway under it, at random.

At the end everything is started and left alone until no run is in flight. Then each study must have exactly one SEG in
the PACS and each Observation exactly once in the EHR, and the ledger must verify. Exit status 1 otherwise. Works on the
servers of SCARGATE_STATE; the order of the disturbances follows from --seed.
"""

import argparse
import collections
import json
import pathlib
import random
import signal
import sys
import time

import seed_ehr
import stage

VICTIMS = ["gateway", "gateway", "postgres", "rabbitmq", "orthanc", "ehr"]


class Soak(stage.Stage):
    """A stage on which things are killed, and the count of what arrived."""

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

    soak, chance = Soak(args.binary, args.state, "soak"), random.Random(args.seed)
    soak.start_gateway()
    end, number = time.monotonic() + 60 * args.minutes, 0
    try:
        while time.monotonic() < end:
            number += 1
            soak.send_study(number, "--matrix", "128", "--phases", "1")
            print(f"study {number} sent", flush=True)
            time.sleep(chance.uniform(0, args.every))
            soak.disturb(chance)
        objections = soak.objections(soak.settle())
    finally:
        soak.stop_gateway(signal.SIGTERM)
    print(", ".join(f"{count} x {event}" for event, count in sorted(soak.events.items())))
    print("\n".join(objections) or "each study exactly once in PACS and EHR, ledger verified, nothing in flight")
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())

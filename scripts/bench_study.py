"""Where the time of a study goes on real servers: the gateway's steps, its own CPU time, its memory, and its peers' CPU time.

Starts `scargate serve` on the servers of SCARGATE_STATE with one thread per forward pass, so that the wall time of a pass
is its CPU time; sends studies one after another and reads the steps from the audit trail. Needs an idle machine. For
comparison the least that a script around the same model must do (bench_script.py) runs on the same studies.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import stage

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
IDLE_SECONDS = 20
# Studies are asked for one by one: nothing else may start one.
OVERLAY = "[infer]\nthreads = 1\n[intake]\npoll = false\nwebhook_token = \"\"\n"


def cpu_ms(root: int) -> float:
    """User and system time of a process and all below it, ended children included, ms."""
    parents, ticks = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else None
        except OSError:
            continue
        if fields:
            parents[int(entry.name)], ticks[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))

    def below(pid: int) -> bool:
        return pid == root or (pid in parents and below(parents[pid]))

    return TICK_MS * sum(count for pid, count in ticks.items() if below(pid))


def memory_mib(pid: int, key: str) -> float:
    """A line of /proc/PID/status in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


class Bench(stage.Stage):
    """A stage on which studies go one after another while the clocks are read."""

    def start_gateway(self) -> None:
        """With its log beside those of the servers."""
        command = [*self.command, "serve"]
        self.gateway = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=stage.ROOT)
        while self.runs() is None:
            time.sleep(0.2)

    def processes(self) -> dict[str, int]:
        """Name -> first process of the gateway and its peers."""
        peers = {name: int((self.state / "run" / f"{name}.pid").read_text().split()[0]) for name in ("postgres", "rabbitmq", "orthanc", "ehr")}
        return {"scargate": self.gateway.pid} | peers

    def clocks(self) -> dict[str, float]:
        """CPU time so far, ms."""
        return {name: cpu_ms(pid) for name, pid in self.processes().items()}

    def process(self, study: str) -> dict:
        """Starts the run of a study and waits for its end; wall time, CPU times and the audit events."""
        before, begun = self.clocks(), time.monotonic()
        run, state = self.api(f"/studies/{study}/runs", b"{}")["run"], {}
        while state.get("state") not in stage.ENDED:
            time.sleep(0.5)  # each question costs the gateway CPU time too
            state = self.release_held(run)
        wall = 1000 * (time.monotonic() - begun)
        if state["state"] != "completed":
            raise SystemExit(f"a run ended {state['state']}: {state.get('code')}")
        time.sleep(0.5)  # the acknowledgement and the sealer's part belong to the study too
        after = self.clocks()
        export = self.scargate("audit", "export", "--run", run)
        if export.returncode:
            raise SystemExit(export.stderr)
        events = [json.loads(line)["event"] for line in export.stdout.splitlines()]
        return {"wall": wall, "cpu": {name: after[name] - before[name] for name in after}, "events": events}


def moment(event: dict) -> datetime.datetime:
    """When an event was recorded."""
    return datetime.datetime.fromisoformat(event["recorded"])


def analysis(events: list[dict]) -> dict:
    """What the audit trail says about the analysis."""
    return next(event["detail"] for event in events if event["kind"] == "analysis")


def steps(events: list[dict]) -> dict[str, float]:
    """Wall ms by step: those of the worker, and each delivery from its intent to its outcome."""
    found = dict(analysis(events)["steps_ms"])
    for model in analysis(events)["models_ms"]:
        found[f"forward passes: {model['role']} ({model['runs']})"] = model["wall_ms"]
    begun = {}
    for event in events:
        if event["kind"] == "delivery-intent":
            begun[event["peer"]] = moment(event)
        if event["kind"] == "delivery-outcome" and event["peer"] in begun:
            found[f"deliver: {event['peer']}"] = 1000 * (moment(event) - begun[event["peer"]]).total_seconds()
    return found


def forward_ms(found: dict[str, float]) -> float:
    """All forward passes of a study."""
    return sum(ms for name, ms in found.items() if name.startswith("forward"))


def idle(bench: Bench) -> dict[str, float]:
    """CPU ms per second of each process while nothing is asked of it."""
    before = bench.clocks()
    time.sleep(IDLE_SECONDS)
    return {name: (after - before[name]) / IDLE_SECONDS for name, after in bench.clocks().items()}


def scripted(bench: Bench, study: str, patient: str, python: str) -> dict:
    """The same study by bench_script.py."""
    command = [python, stage.ROOT / "scripts" / "bench_script.py", "--state", bench.state, "--study", study, "--patient", patient]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def report(bench: Bench, quiet: dict, rows: list[dict], other: list[dict], memory: dict) -> str:
    """The tables, as Markdown."""
    median = statistics.median
    by_step = collections.defaultdict(list)
    for row in rows:
        for name, ms in steps(row["events"]).items():
            by_step[name].append(ms)
    wall = median(row["wall"] for row in rows)
    slices = median(analysis(row["events"])["slices"] for row in rows)
    lines = [f"{len(rows)} studies one after another, {slices:.0f} slices each; medians.", "", "| step | wall ms |", "| --- | ---: |"]
    lines += [f"| {name} | {median(values):.1f} |" for name, values in by_step.items()]
    lines += [f"| from the request to delivered everywhere | {wall:.0f} |", "", "| process | CPU ms a study | idle, ms a second |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {median(row['cpu'][name] for row in rows):.0f} | {quiet[name]:.1f} |" for name in quiet]
    own = [row["cpu"]["scargate"] - forward_ms(steps(row["events"])) for row in rows]
    share = [part / row["cpu"]["scargate"] for part, row in zip(own, rows, strict=True)]
    lines += ["", f"scargate's own CPU time outside forward passes: **{median(own):.0f} ms** a study, {100 * median(share):.1f} % of its CPU time."]
    lines += [f"Resident: {memory['warm']:.0f} MiB after the first study, at most {memory['peak']:.0f} MiB."]
    if other:
        outside = [row["cpu_ms"] - row["forward_ms"] for row in other]
        ratio = median(outside) / median(own)
        lines += ["", f"The script: {median(outside):.0f} ms CPU outside forward passes and start-up ({ratio:.1f} times scargate's), {median(row['wall_ms'] for row in other):.0f} ms wall,"]
        lines += [f"{median(row['start_ms'] for row in other):.0f} ms to start, {median(row['peak_mib'] for row in other):.0f} MiB at most. It keeps no audit trail, checks no patient and survives no outage."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="scargate, release build")
    parser.add_argument("--state", type=pathlib.Path, required=True, help="folder of the servers")
    parser.add_argument("--studies", type=int, default=10)
    args = parser.parse_args()

    overlay = args.state / "bench.toml"
    overlay.write_text(OVERLAY)
    bench = Bench(args.binary, args.state, "bench", (overlay,))
    bench.start_gateway()
    try:
        studies = [bench.send_study(number, "--phases", "1") for number in range(args.studies + 1)]
        bench.process(studies[0])
        warm = memory_mib(bench.gateway.pid, "VmRSS")
        quiet = idle(bench)
        rows = [bench.process(study) for study in studies[1:]]
        memory = {"warm": warm, "peak": memory_mib(bench.gateway.pid, "VmHWM")}
        other = [scripted(bench, study, bench.studies[study], sys.executable) for study in studies[1:4]]
    finally:
        bench.stop_gateway(signal.SIGTERM)
    print(report(bench, quiet, rows, other, memory))


if __name__ == "__main__":
    main()

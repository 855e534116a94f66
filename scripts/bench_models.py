"""Time and memory of each model per slice, at one and two threads, alone and eight slices at once, as a Markdown table.

Runs the files of models/ on their stored probes with the ONNX Runtime that the gateway loads, one process per row, so that
each peak is that row's own. Needs an idle machine. The promptable decoder takes one box per call: no batch.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time
import tomllib

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 3


def probe(folder: pathlib.Path, manifest: dict) -> dict[str, np.ndarray]:
    """The stored inputs by name."""
    values, found, at = np.fromfile(folder / manifest["probe"]["input"], "<f4"), {}, 0
    for tensor in manifest["probe"]["inputs"]:
        count = int(np.prod(tensor["shape"]))
        found[tensor["name"]] = values[at : at + count].reshape(tensor["shape"])
        at += count
    return found


def measure(folder: pathlib.Path, threads: int, batch: int) -> dict:
    """One row: load ms, wall and CPU ms per slice (mean over SECONDS after a first run), peak MiB above the bare runtime."""
    bare = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    begun = time.monotonic()
    session = onnxruntime.InferenceSession(folder / manifest["file"], options, providers=["CPUExecutionProvider"])
    load_ms = 1000 * (time.monotonic() - begun)
    inputs = probe(folder, manifest)
    if batch > 1:
        inputs = {name: np.repeat(value, batch, 0) for name, value in inputs.items()}
    session.run(None, inputs)
    runs, begun, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - begun < SECONDS:
        session.run(None, inputs)
        runs += 1
    per = 1000 / (runs * batch)
    wall_ms, cpu_ms = per * (time.monotonic() - begun), per * (time.process_time() - cpu)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - bare) / 1024
    return {"load_ms": load_ms, "wall_ms": wall_ms, "cpu_ms": cpu_ms, "peak_mib": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "models")
    parser.add_argument("--row", nargs=3, metavar=("FOLDER", "THREADS", "BATCH"), help="measure one row in this process")
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measure(pathlib.Path(args.row[0]), *map(int, args.row[1:]))))
        return
    print("| model | threads | slices at once | wall ms a slice | CPU ms a slice | load ms | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for manifest in sorted(args.models.glob("*/manifest.toml")):
        batches = [1] if manifest.parent.name == "scar-decoder" else [1, 8]
        for threads, batch in ((t, b) for t in (1, 2) for b in batches):
            command = [sys.executable, __file__, "--row", manifest.parent, str(threads), str(batch)]
            row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            cells = f"{row['wall_ms']:.1f} | {row['cpu_ms']:.1f} | {row['load_ms']:.0f} | {row['peak_mib']:.0f}"
            print(f"| {manifest.parent.name} | {threads} | {batch} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

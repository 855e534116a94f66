"""End-to-end figures of a models/ folder: images in, nothing else. Real folds and phantom stacks are reported apart."""

import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import report, sets
from .common import RUNS
from .metrics import case_row, summary
from .pipeline import Pipeline


def run(models: Path, cases: list, name: str) -> dict:
    """Rows and summaries for both scar sources; written to runs/evaluate/<name>.json."""
    pipeline = Pipeline(models)
    rows: dict[str, list[dict]] = {"dense": [], "sam": []}
    for case in tqdm(cases, name, mininterval=5):
        result = pipeline.run(case.images)
        for source, labels in (("dense", result.dense), ("sam", result.prompted)):
            row = case_row(case.name, labels, np.asarray(case.labels))
            rows[source].append(row | beyond(labels, np.asarray(case.labels)))
    out = {source: {"summary": summary(r), "cases": r} for source, r in rows.items()}
    target = RUNS / "evaluate" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(out, indent=1, default=float))
    return out


def beyond(predicted: np.ndarray, reference: np.ndarray) -> dict:
    """Ring and scar pixels called in slices where the reference has no wall; slices with a wall that were missed."""
    empty = ~(reference >= 2).any((1, 2))
    return {
        "empty_slices": int(empty.sum()),
        "empty_with_ring": int(((predicted >= 2).any((1, 2)) & empty).sum()),
        "empty_ring_px": int((predicted[empty] >= 2).sum()),
        "empty_scar_px": int((predicted[empty] >= 3).sum()),
        "missed_slices": int((~(predicted >= 2).any((1, 2)) & ~empty).sum()),
        "scar_px": int((predicted >= 3).sum()),
    }


def show(out: dict) -> None:
    """Print the summaries side by side and the cases that matter."""
    keys = list(out["dense"]["summary"])
    for k in keys:
        print(f"{k:22s}" + "".join(f"{out[s]['summary'][k]:10.3f}" for s in out))
    for s in out:
        spill = sum(r["empty_with_ring"] for r in out[s]["cases"]), sum(r["empty_slices"] for r in out[s]["cases"])
        print(f"{s}: wall called in {spill[0]} of {spill[1]} slices beyond base and apex;", end=" ")
        print(f"scar px there {sum(r['empty_scar_px'] for r in out[s]['cases'])};", end=" ")
        print("scar fraction by case:", [(r["case"], round(float(r["fraction"]), 1), round(float(r["fraction_ref"]), 1)) for r in out[s]["cases"]])


def main(models: Path, which: str, folds: list[int]) -> None:
    """`which` is "real" (held-out folds) or "phantom"."""
    cases = sets.real(folds) if which == "real" else sets.synthetic("test")
    name = f"real-folds-{'-'.join(map(str, folds))}" if which == "real" else "phantom"
    show(run(models, cases, name))
    stored = RUNS / "evaluate" / f"{name}.json"
    stored.with_suffix(".md").write_text(f"{report.table(stored)}\n\n{report.cases(stored)}\n")

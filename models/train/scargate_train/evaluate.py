"""End-to-end figures of a models/ folder: images in, nothing else. Real folds and phantom stacks are reported apart."""

import datetime
import json
import tomllib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import baselines, data, report, sets, split
from .common import HERE, RUNS
from .data import Case
from .metrics import case_row, limited, summary
from .pipeline import Pipeline


def run(models: Path, cases: list[Case], name: str) -> dict:
    """Rows and summaries for each source of scar; written to runs/evaluate/<name>.json.

    Sources: "dense", "sam" (boxes -> masks) and the thresholds of `baselines` inside our own wall. Scar below the
    gateway's detection limit still counts here; `metrics.limited` applies the limit to a row.
    """
    pipeline = Pipeline(models)
    rows: dict[str, list[dict]] = {}
    for case in tqdm(cases, name, mininterval=10):
        reference = np.asarray(case.labels)
        result = pipeline.run(case.images)
        sources = {"dense": result.dense} | ({"sam": result.prompted} if pipeline.prompted else {})
        for source, labels in (sources | baselines.labels_of(case.images, result.dense)).items():
            row = case_row(case.name, labels, reference) | beyond(labels, reference)
            rows.setdefault(source, []).append(row)
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
    print(" " * 22 + "".join(f"{s:>10s}" for s in out))
    for k in out["dense"]["summary"]:
        print(f"{k:22s}" + "".join(f"{out[s]['summary'][k]:10.3f}" for s in out))
    for s in out:
        rows = out[s]["cases"]
        spill, total = (sum(r[k] for r in rows) for k in ("empty_with_ring", "empty_slices"))
        print(f"{s}: wall called in {spill} of {total} slices beyond base and apex;", end=" ")
        print(f"scar px there {sum(r['empty_scar_px'] for r in rows)}")


def locked(folder: Path) -> list[Case]:
    """The locked cases, read from EMIDEC's own files: they are in no pack."""
    numbers = set(split.read(HERE / "split.toml")["locked"])
    images, labels = (data.emidec_stacks(folder, what, numbers) for what in ("images", "labels"))
    return [Case(n, int(n[1:]), images[n].astype(np.float32), labels[n], True) for n in sorted(images)]


def record(out: dict, models: Path, why: str, limit: float = 2.5) -> None:
    """One line in openings.md: each source, and the dense model with the gateway's detection limit."""
    roles = ["myocardium"] + (["scar-detector", "scar-decoder"] if "sam" in out else [])
    digests = [tomllib.loads((models / r / "manifest.toml").read_text())["sha256"][:12] for r in roles]
    weights = ", ".join(f"{r} {d}" for r, d in zip(roles, digests, strict=True))
    parts = [("dense", out["dense"]["cases"]), (f"dense, limit {limit} %", [limited(r, limit) for r in out["dense"]["cases"]])]
    parts += [("boxes -> masks", out["sam"]["cases"])] if "sam" in out else []
    figures = "; ".join(f"{name}: {in_words(summary(rows))}" for name, rows in parts)
    file = HERE / "openings.md"
    lines = [line for line in file.read_text().splitlines() if "none so far" not in line]
    lines.append(f"| {datetime.date.today()} | {weights} | {why} | {figures} |")
    file.write_text("\n".join(lines) + "\n")


def in_words(s: dict) -> str:
    """The figures of a summary that an opening is recorded with."""
    return (
        f"myocardium {s['myocardium']:.2f}, scar volume Dice {s['scar']:.2f} (n {s['n_pathological']}), no-reflow {s['no_reflow']:.2f}, "
        f"fraction error {s['fraction_mae']:.1f}, bias {s['fraction_bias']:+.1f}, normals {s['fraction_normal_mean']:.1f}, worst "
        f"{s['fraction_normal_worst']:.1f}, sensitive {s['sensitive']} of {s['n_pathological']}, specific {s['specific']} of {s['n_normal']}"
    )


def labelled(folder: Path, name: str) -> None:
    """Score label PNGs of another model, named as EMIDEC's files, on the cases of the folds; for a column of the card."""
    rows = []
    for case in sets.real(range(5)):
        labels = data.emidec_stacks(folder, ".", {case.number})[case.name]
        rows.append(case_row(case.name, labels, case.labels) | beyond(labels, case.labels))
    target = RUNS / "evaluate" / f"{name}.json"
    target.write_text(json.dumps({name: {"summary": summary(rows), "cases": rows}}, indent=1, default=float))


def main(models: Path, which: str, fold: str, why: str) -> None:
    """`which` is "real" (the held-out cases of a group), "phantom", or "locked" (recorded, with its reason)."""
    if which == "locked" and not why:
        raise SystemExit("the locked cases are opened once per released weights: say --why")
    cases = {
        "real": lambda: sets.parts(fold)[1],
        "phantom": lambda: sets.synthetic("test"),
        "locked": lambda: locked(data.emidec_folder()),
    }[which]()
    name = f"real-{fold}" if which == "real" else which
    out = run(models, cases, name)
    if which == "locked":
        record(out, models, why)
    show(out)
    stored = RUNS / "evaluate" / f"{name}.json"
    stored.with_suffix(".md").write_text(f"{report.table([stored])}\n\n{report.cases([stored])}\n")

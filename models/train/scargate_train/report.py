"""Markdown tables for the model cards, from the rows that `evaluate` stored; intervals always shown."""

import json
import math
from pathlib import Path

import numpy as np

from .metrics import limited

# key, name, which cases, position in a slice row (pooled over slices, resampled by case)
MEASURES = [
    ("myocardium", "myocardium volume Dice, all cases", "all"),
    ("cavity", "cavity volume Dice, all cases", "all"),
    ("scar", "scar (incl. no-reflow) volume Dice, pathological", "sick"),
    (0, "DSC per slice with scar", "sick"),
    (1, "AS per slice with scar", "sick"),
    (2, "PS per slice with scar", "sick"),
    ("transmurality", "transmurality by 60-degree sector, mean absolute error, points, pathological", "sick"),
    ("no_reflow", "no-reflow volume Dice where present", "sick"),
    ("error", "scar fraction of wall, mean absolute error, points, pathological", "sick"),
    ("bias", "the same, bias", "sick"),
    ("fraction", "scar fraction called in normal cases, points", "well"),
]
POINTS = ("error", "bias", "fraction", "transmurality")


def bootstrap(values: list[np.ndarray], rounds: int = 2000) -> tuple[float, float]:
    """95 % percentile interval of the pooled mean; each entry of `values` is a case with its figures, fixed seed."""
    rng = np.random.default_rng(0)
    sums, counts = np.array([v.sum() for v in values]), np.array([len(v) for v in values])
    picks = rng.integers(len(values), size=(rounds, len(values)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share."""
    if n == 0:
        return float("nan"), float("nan")
    z, p = 1.959964, hits / n
    mid, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (mid - half) / (1 + z * z / n), (mid + half) / (1 + z * z / n)


def figures(row: dict, key) -> np.ndarray:
    """The finite figures of a case for one measure."""
    error = row["fraction"] - row["fraction_ref"]
    if key == "error":
        values = [abs(error)]
    elif key == "bias":
        values = [error]
    else:
        values = [s[key] for s in row["slices"]] if isinstance(key, int) else [row[key]]
    values = np.array(values, float)
    return values[np.isfinite(values)]


def cell(rows: list[dict], key, who: str) -> str:
    """Mean, interval and n of one measure."""
    part = [r for r in rows if who == "all" or (r["fraction_ref"] > 0) == (who == "sick")]
    values = [v for v in (figures(r, key) for r in part) if len(v)]
    if not values:
        return "none"
    low, high = bootstrap(values)
    pooled, digits = np.concatenate(values), 1 if key in POINTS else 2
    count = f"n {len(values)}" + (f", {len(pooled)} slices" if isinstance(key, int) else "")
    worst = f", worst {pooled.max():.1f}" if key == "fraction" else ""
    return f"{pooled.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f}; {count}{worst})"


def share(rows: list[dict], sick: bool) -> str:
    """Sensitivity or specificity by case: positive at >= 1 % of the wall."""
    part = [r for r in rows if (r["fraction_ref"] > 0) == sick]
    hits = sum((r["fraction"] >= 1) == sick for r in part)
    low, high = wilson(hits, len(part))
    return f"{hits} of {len(part)} ({low:.2f} to {high:.2f})"


def rows_of(files: list[Path], source: str, limit: float = 0.0) -> list[dict]:
    """The cases of one source, pooled over files, ordered by name, with a detection limit."""
    found = [r for f in files for r in json.loads(f.read_text()).get(source, {"cases": []})["cases"]]
    return [limited(r, limit) for r in sorted(found, key=lambda r: r["case"])]


def constant(rows: list[dict]) -> str:
    """Mean absolute error of calling the mean scar fraction of the other pathological cases."""
    real = np.array([r["fraction_ref"] for r in rows if r["fraction_ref"] > 0])
    others = (real.sum() - real) / max(len(real) - 1, 1)
    return f"{np.abs(real - others).mean():.1f}"


def table(files: list[Path], columns: list[tuple[str, str, float]] | None = None) -> str:
    """Figures side by side; a column is (title, source, detection limit in percent of the wall)."""
    columns = columns or [("dense model", "dense", 0.0), ("boxes -> masks", "sam", 0.0)]
    sets = {title: rows_of(files, source, limit) for title, source, limit in columns}
    sets = {title: rows for title, rows in sets.items() if rows}
    lines = ["| measure: mean (95 % interval over cases; n) | " + " | ".join(sets) + " |", "| --- " * (1 + len(sets)) + "|"]
    for key, name, who in MEASURES:
        lines.append(f"| {name} | " + " | ".join(cell(r, key, who) for r in sets.values()) + " |")
    for name, sick in (("case sensitivity", True), ("case specificity", False)):
        lines.append(f"| {name} | " + " | ".join(share(r, sick) for r in sets.values()) + " |")
    for name, key, total in (
        ("slices beyond base and apex where wall is called", "empty_with_ring", "empty_slices"),
        ("scar pixels called in such slices", "empty_scar_px", None),
        ("slices with wall where none is called", "missed_slices", None),
    ):
        sums = [(sum(int(c[key]) for c in r), sum(int(c[total]) for c in r) if total else None) for r in sets.values()]
        lines.append(f"| {name} | " + " | ".join(f"{a} of {b}" if b is not None else f"{a}" for a, b in sums) + " |")
    lines.append(f"\nA constant (the other pathological cases' mean fraction): mean absolute error {constant(next(iter(sets.values())))} points.")
    return "\n".join(lines)


def cases(files: list[Path], limit: float = 0.0) -> str:
    """One line per case."""
    sets = {s: rows_of(files, s, limit) for s in ("dense", "sam")}
    sets = {s: {r["case"]: r for r in rows} for s, rows in sets.items()}
    lines = [
        "| case | myocardium Dice | scar fraction, reference | dense: fraction, Dice | boxes: fraction, Dice |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, a in sets["dense"].items():
        parts = [f"{r['fraction']:.1f} %, {r['scar']:.2f}" if r else "-" for r in (a, sets["sam"].get(name))]
        parts = [p.replace("nan", "-") for p in parts]
        lines.append(f"| {name} | {a['myocardium']:.2f} | {a['fraction_ref']:.1f} % | {parts[0]} | {parts[1]} |")
    return "\n".join(lines)


def fill(card: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->` in a card."""
    before, rest = card.read_text().split(f"<!-- {name} -->", 1)
    after = rest.split(f"<!-- /{name} -->", 1)[1]
    card.write_text(f"{before}<!-- {name} -->\n{text}\n<!-- /{name} -->{after}")


def cards(models: Path, results: Path, limit: float) -> None:
    """Write the stored figures into the cards; `limit` is the gateway's detection limit.

    `tiramisu.json` (`labelled`) and `locked.json` (`evaluate locked`) are shown where they exist.
    """
    real, phantom, locked = sorted(results.glob("real-?.json")), [results / "phantom.json"], [results / "locked.json"]
    other = [p for p in [results / "tiramisu.json"] if p.exists()]
    shipped = [("dense model", "dense", 0.0), (f"dense, limit {limit} %", "dense", limit)]
    classic = [("PSIR-safe FWHM", "fwhm", 0.0), ("5-SD", "5-sd", 0.0), ("Otsu", "otsu", 0.0)]
    boxes = [("boxes -> masks", "sam", 0.0), (f"boxes, limit {limit} %", "sam", limit)]
    public = [("tiramisu_emidec, **in-sample**", "tiramisu", 0.0)]
    fill(models / "myocardium" / "card.md", "real", table(real + other, shipped + classic + public))
    fill(models / "myocardium" / "card.md", "cases", cases(real, limit))
    if locked[0].exists():
        fill(models / "myocardium" / "card.md", "locked", f"{table(locked, shipped + classic)}\n\nWith the detection limit:\n\n{cases(locked, limit)}")
    fill(models / "myocardium" / "card.md", "phantom", table(phantom, shipped))
    if not rows_of([results / "real-0.json"], "sam"):
        return
    fill(models / "scar-decoder" / "card.md", "real", table([results / "real-0.json"], shipped + boxes))
    fill(models / "scar-decoder" / "card.md", "cases", cases([results / "real-0.json"], limit))
    fill(models / "scar-decoder" / "card.md", "phantom", table(phantom, shipped + boxes))

"""Markdown tables for the model cards, from the rows that `evaluate` stored; intervals always shown."""

import json
import math
from pathlib import Path

import numpy as np

MEASURES = [
    ("myocardium", "myocardium volume Dice, all cases", "all"),
    ("cavity", "cavity volume Dice, all cases", "all"),
    ("scar", "scar (incl. no-reflow) volume Dice, pathological", "sick"),
    ("scar_slice", "scar Dice per slice with scar, mean of case means", "sick"),
    ("no_reflow", "no-reflow volume Dice where present", "sick"),
    ("error", "scar fraction of wall, mean absolute error, points, pathological", "sick"),
    ("bias", "the same, bias", "sick"),
    ("fraction", "scar fraction called in normal cases, points", "well"),
]


def bootstrap(values: np.ndarray, rounds: int = 2000) -> tuple[float, float]:
    """95 % percentile interval of the mean over cases, fixed seed."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (rounds, len(values))).mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share."""
    if n == 0:
        return float("nan"), float("nan")
    z, p = 1.959964, hits / n
    mid, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (mid - half) / (1 + z * z / n), (mid + half) / (1 + z * z / n)


def cell(rows: list[dict], key: str, who: str) -> str:
    """Mean, interval and n of one measure."""
    part = [r for r in rows if who == "all" or (r["fraction_ref"] > 0) == (who == "sick")]
    error = {"error": lambda r: abs(r["fraction"] - r["fraction_ref"]), "bias": lambda r: r["fraction"] - r["fraction_ref"]}
    values = np.array([error[key](r) if key in error else r[key] for r in part], float)
    values = values[np.isfinite(values)]
    if not len(values):
        return "none"
    low, high = bootstrap(values)
    digits = 1 if key in ("error", "bias", "fraction") else 2
    worst = f", worst {values.max():.1f}" if key == "fraction" else ""
    return f"{values.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f}; n {len(values)}{worst})"


def share(rows: list[dict], sick: bool) -> str:
    """Sensitivity or specificity by case: positive at >= 1 % of the wall."""
    part = [r for r in rows if (r["fraction_ref"] > 0) == sick]
    hits = sum((r["fraction"] >= 1) == sick for r in part)
    low, high = wilson(hits, len(part))
    return f"{hits} of {len(part)} ({low:.2f} to {high:.2f})"


def table(file: Path) -> str:
    """The figures of one evaluation, dense model and boxes side by side."""
    stored = json.loads(file.read_text())
    rows = {source: stored[source]["cases"] for source in ("dense", "sam")}
    lines = ["| measure: mean (95 % interval over cases; n) | dense model | boxes -> masks |", "| --- | --- | --- |"]
    for key, name, who in MEASURES:
        lines.append(f"| {name} | " + " | ".join(cell(r, key, who) for r in rows.values()) + " |")
    for name, sick in (("case sensitivity", True), ("case specificity", False)):
        lines.append(f"| {name} | " + " | ".join(share(r, sick) for r in rows.values()) + " |")
    for name, key, total in (
        ("slices beyond base and apex where wall is called", "empty_with_ring", "empty_slices"),
        ("scar pixels called in such slices", "empty_scar_px", None),
        ("slices with wall where none is called", "missed_slices", None),
    ):
        sums = [(sum(int(c[key]) for c in r), sum(int(c[total]) for c in r) if total else None) for r in rows.values()]
        lines.append(f"| {name} | " + " | ".join(f"{a} of {b}" if b is not None else f"{a}" for a, b in sums) + " |")
    return "\n".join(lines)


def cases(file: Path) -> str:
    """One line per case."""
    stored = json.loads(file.read_text())
    lines = [
        "| case | myocardium Dice | scar fraction, reference | dense: fraction, Dice | boxes: fraction, Dice |",
        "| --- | --- | --- | --- | --- |",
    ]
    for a, b in zip(stored["dense"]["cases"], stored["sam"]["cases"], strict=True):
        parts = [f"{r['fraction']:.1f} %, {r['scar']:.2f}" for r in (a, b)]
        parts = [p.replace("nan", "-") for p in parts]
        lines.append(f"| {a['case']} | {a['myocardium']:.2f} | {a['fraction_ref']:.1f} % | {parts[0]} | {parts[1]} |")
    return "\n".join(lines)


def fill(card: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->` in a card."""
    before, rest = card.read_text().split(f"<!-- {name} -->", 1)
    after = rest.split(f"<!-- /{name} -->", 1)[1]
    card.write_text(f"{before}<!-- {name} -->\n{text}\n<!-- /{name} -->{after}")


def cards(models: Path, results: Path) -> None:
    """Write the stored figures into the cards; the decoder's card holds the whole pipeline."""
    for source, name in (("real-folds-0", "real"), ("phantom", "phantom")):
        fill(models / "scar-decoder" / "card.md", name, table(results / f"{source}.json"))
    fill(models / "scar-decoder" / "card.md", "cases", cases(results / "real-folds-0.json"))

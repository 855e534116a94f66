"""Figures by case and slice; pixels only, since the real data have no spacing."""

import numpy as np


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two masks; NaN when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def case_row(name: str, predicted: np.ndarray, reference: np.ndarray) -> dict:
    """Volume Dice of cavity, ring, scar and no-reflow, mean Dice over slices with scar, scar fractions in percent."""
    ring_p, ring_r = predicted >= 2, reference >= 2
    scar_p, scar_r = predicted >= 3, reference >= 3
    pairs = zip(scar_p, scar_r, strict=True)
    slices = [dice(p, r) for p, r in pairs if r.any()]
    return {
        "case": name,
        "myocardium": dice(ring_p, ring_r),
        "cavity": dice(predicted == 1, reference == 1),
        "scar": dice(scar_p, scar_r),
        "scar_slice": float(np.mean(slices)) if slices else float("nan"),
        "no_reflow": dice(predicted == 4, reference == 4) if (reference == 4).any() else float("nan"),
        "fraction": 100 * scar_p.sum() / max(int(ring_p.sum()), 1),
        "fraction_ref": 100 * scar_r.sum() / max(int(ring_r.sum()), 1),
    }


def summary(rows: list[dict]) -> dict:
    """Means over cases as the tables use them; pathological = some scar in the reference."""
    sick = [r for r in rows if r["fraction_ref"] > 0]
    well = [r for r in rows if r["fraction_ref"] == 0]
    error = np.array([r["fraction"] - r["fraction_ref"] for r in sick])

    def mean(of, key):
        values = [r[key] for r in of if np.isfinite(r[key])]
        return float(np.mean(values)) if values else float("nan")

    return {
        "n_pathological": len(sick),
        "n_normal": len(well),
        "myocardium": mean(rows, "myocardium"),
        "cavity": mean(rows, "cavity"),
        "scar": mean(sick, "scar"),
        "scar_slice": mean(sick, "scar_slice"),
        "no_reflow": mean(sick, "no_reflow"),
        "fraction_mae": float(np.abs(error).mean()) if len(error) else float("nan"),
        "fraction_bias": float(error.mean()) if len(error) else float("nan"),
        "fraction_normal_mean": mean(well, "fraction"),
        "fraction_normal_worst": max((r["fraction"] for r in well), default=float("nan")),
        "sensitive": sum(r["fraction"] >= 1 for r in sick),
        "specific": sum(r["fraction"] < 1 for r in well),
    }

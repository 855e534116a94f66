"""Figures by case and slice; pixels only, since the real data have no spacing."""

import numpy as np
from scipy import ndimage

SECTORS = 6


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two masks; NaN when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def perimeter(mask: np.ndarray) -> int:
    """Boundary pixels: the mask minus its erosion by the cross of four neighbours (as the paper counts)."""
    return int((mask & ~ndimage.binary_erosion(mask)).sum())


def similarity(a: int, b: int) -> float:
    """1 - |a - b| / (a + b); 1 when both are zero."""
    return 1 - abs(a - b) / (a + b) if a + b else 1.0


def slice_row(p: np.ndarray, r: np.ndarray) -> list[float]:
    """[Dice, area similarity, perimeter similarity] of the scar of one slice."""
    return [dice(p, r), similarity(int(p.sum()), int(r.sum())), similarity(perimeter(p), perimeter(r))]


def transmurality(label: np.ndarray, centre: tuple[float, float], rays: int = 120) -> np.ndarray:
    """Mean over the rays of six 60-degree sectors of the scarred part of the wall, percent; NaN without wall.

    Rays start at `centre` (y, x) and are sampled every half pixel; the sectors start at the image's x axis.
    """
    angle = (np.arange(rays) + 0.5) * 2 * np.pi / rays
    far = np.arange(0, 0.7 * max(label.shape), 0.5)
    ys = (centre[0] + np.sin(angle)[:, None] * far).round().astype(int)
    xs = (centre[1] + np.cos(angle)[:, None] * far).round().astype(int)
    inside = (ys >= 0) & (ys < label.shape[0]) & (xs >= 0) & (xs < label.shape[1])
    seen = np.where(inside, label[ys.clip(0, label.shape[0] - 1), xs.clip(0, label.shape[1] - 1)], 0)
    wall, scar = (seen >= 2).sum(1), (seen >= 3).sum(1)
    part = np.where(wall >= 3, 100 * scar / np.maximum(wall, 1), np.nan).reshape(SECTORS, -1)
    known = np.isfinite(part).sum(1)
    return np.where(known > 0, np.nansum(part, 1) / np.maximum(known, 1), np.nan)


def transmurality_errors(predicted: np.ndarray, reference: np.ndarray) -> list[float]:
    """Absolute errors, points, over the sectors of all slices that hold the reference's cavity.

    A sector whose wall was not found counts as 0 % scar.
    """
    errors = []
    for p, r in zip(predicted, reference, strict=True):
        if (r == 1).any():
            centre = ndimage.center_of_mass(r == 1)
            wanted = transmurality(r, centre)
            found = np.nan_to_num(transmurality(p, centre))
            errors += list(np.abs(found - wanted)[np.isfinite(wanted)])
    return errors


def case_row(name: str, predicted: np.ndarray, reference: np.ndarray) -> dict:
    """Volume Dice of cavity, ring, scar and no-reflow, figures of slices with scar, scar fractions in percent."""
    ring_p, ring_r = predicted >= 2, reference >= 2
    scar_p, scar_r = predicted >= 3, reference >= 3
    slices = [slice_row(p, r) for p, r in zip(scar_p, scar_r, strict=True) if r.any()]
    sectors = transmurality_errors(predicted, reference) if scar_r.any() else []
    return {
        "case": name,
        "myocardium": dice(ring_p, ring_r),
        "cavity": dice(predicted == 1, reference == 1),
        "scar": dice(scar_p, scar_r),
        "slices": slices,
        "scar_slice": float(np.mean([s[0] for s in slices])) if slices else float("nan"),
        "no_reflow": dice(predicted == 4, reference == 4) if (reference == 4).any() else float("nan"),
        "no_reflow_called": int((predicted == 4).sum()),
        "transmurality": float(np.mean(sectors)) if sectors else float("nan"),
        "fraction": 100 * scar_p.sum() / max(int(ring_p.sum()), 1),
        "fraction_ref": 100 * scar_r.sum() / max(int(ring_r.sum()), 1),
    }


def limited(row: dict, limit: float) -> dict:
    """The row when scar below `limit` percent of the wall counts as none, as the gateway's detection limit has it."""
    if not 0 < row["fraction"] < limit:
        return row
    gone = {k: 0.0 if np.isfinite(row[k]) else row[k] for k in ("scar", "scar_slice", "no_reflow")}
    gone["scar"] = 0.0 if row["fraction_ref"] > 0 else float("nan")
    return row | gone | {"fraction": 0.0, "no_reflow_called": 0, "slices": [[0.0, 0.0, 0.0]] * len(row["slices"])}


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

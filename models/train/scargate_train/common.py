"""What the recipes share: folders, configuration, seeds, checkpoints, curves, averaged weights."""

import copy
import csv
import math
import os
import random
import tomllib
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parents[1]
SMOKE = os.environ.get("SMOKE") == "1"
RUNS = Path(os.environ.get("SCARGATE_RUNS", HERE / "runs" / "smoke" if SMOKE else HERE / "runs"))


def config(role: str) -> dict:
    """`config/<role>.toml`, with the entries of `config/smoke.toml` for that role on top when SMOKE=1."""
    values = tomllib.loads((HERE / "config" / f"{role}.toml").read_text())
    if SMOKE:
        for key, value in tomllib.loads((HERE / "config" / "smoke.toml").read_text()).get(role, {}).items():
            values[key] = values[key] | value if isinstance(value, dict) else value
    return values


def start(seed: int) -> None:
    """Fix the seeds and use the threads that OMP_NUM_THREADS allows."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def set_rate(optimiser: torch.optim.Optimizer, c: dict, step: int) -> None:
    """Learning rate of a step: warm-up over at most 100 steps, then a cosine to zero at `steps`.

    With `again = {steps, learning_rate}` a second such curve follows.
    """
    if step >= c["steps"] and "again" in c:
        step, c = step - c["steps"], c["again"]
    rate, length = c["learning_rate"], c["steps"]
    warm = min(1.0, (step + 1) / min(100, 1 + length // 5))
    value = rate * warm * (0.5 + 0.5 * math.cos(math.pi * min(step / length, 1.0)))
    for group in optimiser.param_groups:
        group["lr"] = value


class Average:
    """Exponential moving average of a model's parameters and buffers; it is what gets validated and exported."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.model, self.decay = copy.deepcopy(model).eval(), decay

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Move towards `model`; early steps move faster."""
        d = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs.to(mine.dtype), 1 - d)
            else:
                mine.copy_(theirs)


def save(path: Path, **parts) -> None:
    """Write a checkpoint in one move, so that an interrupted run leaves the last good one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(parts, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def load(path: Path) -> dict | None:
    """Read a checkpoint, or None when there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


class Curve:
    """A CSV of figures by step (`runs/<role>/curve.csv`), continued when a run is resumed."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, **row) -> None:
        """Append one row; a change of columns between runs starts a new header line."""
        with self.path.open("a", newline="") as f:
            writer = csv.DictWriter(f, fieldnames=list(row))
            if f.tell() == 0:
                writer.writeheader()
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


def plot(folder: Path) -> None:
    """Draw `curve.csv` as `curve.png` (each column its own panel)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with (folder / "curve.csv").open() as f:
        rows = list(csv.DictReader(f))
    names = [n for n in rows[0] if n != "step"]
    fig, axes = plt.subplots(1, len(names), figsize=(3 * len(names), 2.6), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        points = [(int(r["step"]), float(r[name])) for r in rows if r.get(name)]
        ax.plot(*zip(*points, strict=True))
        ax.set_title(name, fontsize=9)
        ax.set_xlabel("step", fontsize=8)
    fig.tight_layout()
    fig.savefig(folder / "curve.png", dpi=90)
    plt.close(fig)

"""Recipe "myocardium": one dense network for whole slices and LV crops, five classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from . import sets
from .augment import View, draw
from .common import RUNS, Average, Curve, config, load, plot, save, set_rate, start
from .geometry import back, crop, normalise, reference_region
from .losses import dense_loss
from .metrics import case_row, summary
from .unet import UNet

WHOLE = View(side=(0.75, 1.3), shift=0.12, gamma=0.6, window=(85.0, 99.95), dim=0.3, flat=0.15, clahe=0.2)
CROP = View(flat=0.1)


def build(c: dict) -> UNet:
    """The network of a configuration."""
    return UNet(c["base"], c["levels"])


def folder(fold: str) -> Path:
    """Run folder of the pre-training ("phantom"), a cross-validation group ("0", "1", ...) or "all"."""
    return RUNS / "myocardium" / fold


def trained(fold: str) -> UNet:
    """The averaged weights of a finished training."""
    net = build(config("myocardium"))
    net.load_state_dict(load(folder(fold) / "last.pt")["average"])
    return net.eval()


def pools(cases: list, phantom: list, c: dict) -> list[list[sets.Slice]]:
    """[real, phantom] slices to draw from: with scar or beyond base and apex twice, with no-reflow three times."""
    found = [sets.slices(s, c["crop_factor"]) for s in (cases, phantom)]
    if not any(found):
        raise SystemExit("no training data: run `make data` or export phantom arrays first")
    return [[s for s in p for _ in range(weight(s.label))] for p in found]


def weight(label: np.ndarray) -> int:
    """How often a slice is in the pool."""
    return 3 if (label == 4).any() else 2 if (label == 3).any() or not label.any() else 1


def batch(pool, stage: dict, c: dict, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of a step, a function of seed and step alone (so a resumed run goes on as it would have)."""
    rng = np.random.default_rng([c["seed"], stage["batch"]["phantom"], step])
    real, phantom = pool
    n, fake = stage["batch"]["size"], stage["batch"]["phantom"] if phantom else 0
    fake = n if not real else fake
    views = []
    for i in range(n):
        source = phantom if i < fake else real
        s = source[rng.integers(len(source))]
        on_slice = (i * stage["batch"]["whole_slices"]) % n < stage["batch"]["whole_slices"]
        region, view = (s.whole, WHOLE) if on_slice else (s.crop, CROP)
        view = replace(view, bend=stage.get("bend", 0.0))
        views.append(draw(s.image, s.label, region, c["size"], view, rng))
    x = torch.from_numpy(np.stack([v[0] for v in views]))[:, None]
    return x, torch.from_numpy(np.stack([v[1] for v in views]).astype(np.int64))


@torch.no_grad()
def validate(model: torch.nn.Module, cases, c: dict) -> dict:
    """Summary on reference-centred crops (quick, for the curve only; `evaluate` runs the whole pipeline)."""
    rows = []
    for case in cases:
        region = reference_region(case.labels, c["crop_factor"])
        if region is None:
            continue
        patches = [normalise(*crop(i, region, c["size"]), 1, 99) for i in case.images]
        logits = model(torch.from_numpy(np.stack(patches))[:, None]).softmax(1).numpy()
        planes, inside = back(logits, region, *case.labels.shape[1:])
        rows.append(case_row(case.name, planes.argmax(1) * inside, case.labels))
    return summary(rows)


def loss_of(model: UNet, x: torch.Tensor, y: torch.Tensor, c: dict) -> torch.Tensor:
    """Loss of a batch: classes, and whether any wall is in the picture."""
    with torch.autocast("cpu", torch.bfloat16, enabled=c["bf16"]):
        logits, present = model.judge(x.to(memory_format=torch.channels_last))
    seen = (y >= 2).flatten(1).any(1).float()
    presence = F.binary_cross_entropy_with_logits(present.float(), seen)
    return dense_loss(logits.float(), y, c["class_weights"]) + 0.1 * presence


def material(fold: str, c: dict) -> tuple[list, list, list, dict]:
    """(real training cases, phantom cases, validation cases, stage of the configuration) of a fold."""
    phantom = sets.synthetic("train")
    if fold == "phantom":
        return [], phantom, sets.synthetic("test"), c["pretrain"]
    real, held = sets.parts(fold)
    return real, phantom, held or sets.synthetic("test"), c["tune"]


def train(fold: str) -> None:
    """Train or go on training; checkpoint and curve in runs/myocardium/<fold>."""
    c = config("myocardium")
    real, phantom, held, stage = material(fold, c)
    start(c["seed"])
    model = build(c)
    if fold != "phantom":
        model.load_state_dict(trained("phantom").state_dict())
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), stage["learning_rate"], weight_decay=c["weight_decay"])
    average, first = Average(model, c["ema"]), 0
    if state := load(folder(fold) / "last.pt"):
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.model.load_state_dict(state["average"])
        first = state["step"]
    pool, curve = pools(real, phantom, c), Curve(folder(fold) / "curve.csv")
    print(f"{len(pool[0])} real and {len(pool[1])} phantom draws, {len(held)} validation cases, from step {first}")
    losses: list[float] = []
    last = stage["steps"] + stage.get("again", {}).get("steps", 0)
    for step in tqdm(range(first, last), initial=first, total=last, mininterval=10):
        set_rate(optimiser, stage, step)
        now = stage | stage.get("again", {}) if step >= stage["steps"] else stage
        loss = loss_of(model, *batch(pool, now, c, step), c)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        average.update(model, step)
        losses.append(float(loss.detach()))
        done = step + 1
        if done % c["save_every"] == 0 or done == last:
            parts = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            save(folder(fold) / "last.pt", **parts, average=average.model.state_dict(), step=done)
        if done % c["validate_every"] == 0 or done == last:
            figures = validate(average.model, held, c) if held else {}
            keep = ("myocardium", "cavity", "scar", "no_reflow", "fraction_mae", "fraction_bias", "fraction_normal_mean")
            curve.add(step=done, loss=float(np.mean(losses)), **{k: figures.get(k, float("nan")) for k in keep})
            losses.clear()
            plot(folder(fold))

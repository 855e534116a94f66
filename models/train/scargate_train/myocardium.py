"""Recipe "myocardium": one dense network for whole slices and LV crops, five classes."""

import numpy as np
import torch
from tqdm import tqdm

from . import sets
from .augment import View, draw
from .common import RUNS, Average, Curve, config, load, plot, save, set_rate, start
from .geometry import back, crop, normalise, reference_region
from .losses import dense_loss
from .metrics import case_row, summary
from .unet import UNet

WHOLE = View(side=(0.75, 1.3), shift=0.12, flat=0.25)
CROP = View(flat=0.15)


def build(c: dict) -> UNet:
    """The network of a configuration."""
    return UNet(c["base"], c["levels"])


def pools(c: dict) -> list[list[sets.Slice]]:
    """[real, phantom] training slices; those with scar and those beyond base and apex count twice."""
    sources = [sets.real(c["folds"]), sets.synthetic("train")]
    found = [sets.slices(s, c["crop_factor"]) for s in sources]
    if not any(found):
        raise SystemExit("no training data: run `make pack` or export phantom arrays first")
    return [p + [s for s in p if s.scar or not s.label.any()] for p in found]


def batch(pool, c: dict, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of a step, a function of seed and step alone (so a resumed run goes on as it would have)."""
    rng = np.random.default_rng([c["seed"], step])
    real, phantom = pool
    n, fake = c["batch"]["size"], c["batch"]["phantom"] if phantom else 0
    fake = n if not real else fake
    views = []
    for i in range(n):
        source = phantom if i < fake else real
        s = source[rng.integers(len(source))]
        on_slice = (i * c["batch"]["whole_slices"]) % n < c["batch"]["whole_slices"]
        region, view = (s.whole, WHOLE) if on_slice else (s.crop, CROP)
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


def train() -> None:
    """Train or go on training; checkpoint and curve in runs/myocardium."""
    c, folder = config("myocardium"), RUNS / "myocardium"
    start(c["seed"])
    model = build(c).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), c["learning_rate"], weight_decay=c["weight_decay"])
    average, first = Average(model, c["ema"]), 0
    if state := load(folder / "last.pt"):
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.model.load_state_dict(state["average"])
        first = state["step"]
    pool, curve = pools(c), Curve(folder / "curve.csv")
    held = sets.real([c["validate"]]) or sets.synthetic("test")
    print(f"{len(pool[0])} real and {len(pool[1])} phantom draws, {len(held)} validation cases, from step {first}")
    losses: list[float] = []
    last = c["steps"] + c.get("again", {}).get("steps", 0)
    for step in tqdm(range(first, last), initial=first, total=last, mininterval=10):
        set_rate(optimiser, c, step)
        x, y = batch(pool, c, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=c["bf16"]):
            logits = model(x.to(memory_format=torch.channels_last))
        loss = dense_loss(logits.float(), y)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        average.update(model, step)
        losses.append(float(loss.detach()))
        done = step + 1
        if done % c["save_every"] == 0 or done == last:
            parts = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            save(folder / "last.pt", **parts, average=average.model.state_dict(), step=done)
        if done % c["validate_every"] == 0 or done == last:
            figures = validate(average.model, held, c) if held else {}
            keep = ("myocardium", "cavity", "scar", "fraction_mae", "fraction_normal_mean")
            curve.add(step=done, loss=float(np.mean(losses)), **{k: figures.get(k, float("nan")) for k in keep})
            losses.clear()
            plot(folder)

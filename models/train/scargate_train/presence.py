"""Second stage of recipe "myocardium": learn from the frozen U-Net's coarsest map whether the ventricle is in the picture."""

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from . import sets
from .augment import draw
from .common import RUNS, config, load, save, start
from .myocardium import CROP, WHOLE, build
from .unet import Presence


def views(c: dict, cases: list, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(pooled features, present 0 or 1, weight) of random views; slices without the heart as often as others."""
    net = build(c)
    net.load_state_dict(load(RUNS / "myocardium" / "last.pt")["average"])
    net.eval().to(memory_format=torch.channels_last)
    pool = sets.slices(cases, c["crop_factor"])
    empty = [s for s in pool if not s.label.any()]
    full = [s for s in pool if (s.label >= 2).any()]
    features, present = [], []
    for i in tqdm(range(count), "views", mininterval=10):
        rng = np.random.default_rng([seed, i])
        source = empty if empty and i % 2 else full
        s = source[rng.integers(len(source))]
        region, view = (s.whole, WHOLE) if rng.random() < 0.4 else (s.crop, CROP)
        patch, label = draw(s.image, s.label, region, c["size"], view, rng)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=c["bf16"]):
            coarse = net.encode(torch.from_numpy(patch)[None, None].contiguous(memory_format=torch.channels_last))[-1]
        features.append(Presence.pool(coarse.float())[0])
        present.append(float((label >= 2).sum() > 0))
    return torch.stack(features), torch.tensor(present), torch.ones(count)


def train() -> None:
    """Fit and save runs/myocardium/presence.pt; a few minutes of one core, not resumable."""
    c = config("myocardium")
    p, target = c["presence"], RUNS / "myocardium" / "presence.pt"
    if target.exists():
        return
    start(c["seed"] + 1)
    real, phantom = sets.real(c["folds"]), sets.synthetic("train")
    share = p["views"] // 4 if real else 0
    parts = [views(c, real, share, c["seed"] + 2)] if share else []
    if phantom:
        parts.append(views(c, phantom, p["views"] - share, c["seed"] + 3))
    x, y = (torch.cat([part[i] for part in parts]) for i in range(2))
    head = Presence(x.shape[1] // 2)
    mean, sd = x.mean(0), x.std(0) + 1e-3
    optimiser = torch.optim.AdamW(head.parameters(), p["learning_rate"], weight_decay=p["weight_decay"])
    for _ in range(p["epochs"]):
        for rows in torch.randperm(len(x)).split(64):
            loss = F.binary_cross_entropy_with_logits(head((x[rows] - mean) / sd), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():  # fold the standardisation into the first layer
        first = head.layers[0]
        first.weight /= sd
        first.bias -= first.weight @ mean
        right = ((head(x) + p["margin"] > 0) == (y > 0)).float().mean()
    print(f"presence: {float(right):.4f} of the training views right")
    save(target, model=head.state_dict())

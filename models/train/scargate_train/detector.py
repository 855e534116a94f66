"""Recipe "detector": one box per lesion component on LV crops, in the YOLO output contract.

Two networks: `wall_head` (ours, on the dense model's trunk) and LibreYOLO's yolo9-t, whose own trainer wants image files
on disk and cannot draw our views, so that its network and loss run in our loop.
"""

import numpy as np
import torch
from tqdm import tqdm

from . import sets, wall_head
from .augment import View, draw
from .common import RUNS, Average, Curve, config, load, plot, save, set_rate, start
from .lesions import components
from .myocardium import trained
from .sets import plain
from .wall_head import WallHead

CROP = View()


def build(c: dict, fold: str) -> torch.nn.Module:
    """The network of a configuration; the head on the dense model's trunk needs that fold's dense model."""
    if c["network"] == "wall-head":
        return WallHead(trained(fold))
    from libreyolo.models.yolo9.nn import LibreYOLO9Model

    net = LibreYOLO9Model("t", nb_classes=1, img_size=c["size"])
    for tower in net.head.cv3:
        torch.nn.init.constant_(tower[-1].bias, -4.6)  # a 1 % prior: short runs need no lower one
    net.head.export = True
    return net


def channels(c: dict) -> int:
    """Input channels of the network."""
    return 1 if c["network"] == "wall-head" else 3


def loss_of(net, x: torch.Tensor, labels: list[np.ndarray], c: dict) -> torch.Tensor:
    """Training loss of a batch."""
    with torch.autocast("cpu", torch.bfloat16, enabled=c["bf16"]):
        if c["network"] == "wall-head":
            return wall_head.loss(net, x, labels, c["least"])
        features = net.neck(*net.backbone(x.repeat(1, 3, 1, 1)))
    size = (c["size"], c["size"])
    return net.head([f.float() for f in features], targets=targets(labels, c), img_size=size)["total_loss"]


def targets(labels: list[np.ndarray], c: dict) -> torch.Tensor:
    """[B, M, 5] of (class, x0, y0, x1, y1) over 0..1, padded with class -1."""
    boxes = [components(y, c["least"]) for y in labels]
    out = torch.zeros(len(boxes), max(1, *(len(b) for b in boxes)), 5)
    out[:, :, 0] = -1
    for i, b in enumerate(boxes):
        out[i, : len(b), 0] = 0
        out[i, : len(b), 1:] = torch.from_numpy(b / c["size"])
    return out


def batch(pools, c: dict, step: int) -> tuple[torch.Tensor, list[np.ndarray]]:
    """The batch of a step, a function of seed and step."""
    rng = np.random.default_rng([c["seed"], step])
    real, phantom = pools
    n, fake = c["batch"]["size"], c["batch"]["phantom"] if phantom else 0
    fake = n if not real else fake
    views = []
    for i in range(n):
        source = phantom if i < fake else real
        s = source[rng.integers(len(source))]
        views.append(draw(s.image, s.label, s.crop, c["size"], CROP, rng))
    return torch.from_numpy(np.stack([v[0] for v in views]))[:, None], [v[1] for v in views]


def nms(rows: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Greedy suppression of rows [n, 5] (x0, y0, x1, y1, score); ties keep the lower index first."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    kept: list[np.ndarray] = []
    for r in rows:
        if len(kept) == most:
            break
        if all(box_iou(r, k) <= iou for k in kept):
            kept.append(r)
    return np.array(kept, np.float32).reshape(-1, 5)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both, 1e-9)


def decode(output: np.ndarray, c: dict) -> np.ndarray:
    """Head output [5, N] (xyxy, score) -> rows [k, 5] after threshold and suppression."""
    rows = output.T[output[4] >= c["confidence"]]
    rows[:, :4] = np.clip(rows[:, :4], 0, c["size"])
    rows = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]
    return nms(rows, c["iou"], c["max_detections"])


def score(found: list[np.ndarray], labels: list[np.ndarray], c: dict) -> dict:
    """Share of scar pixels inside any box, of lesions met at IoU 0.3, and of scar-free slices left without a box."""
    covered, met, free = [], [], []
    for boxes, label in zip(found, labels, strict=True):
        wanted = components(label, c["least"])
        if not len(wanted):
            free.append(len(boxes) == 0)
            continue
        ys, xs = np.nonzero(label >= 3)
        hit = np.zeros(len(ys), bool)
        for b in boxes:
            hit |= (xs + 0.5 >= b[0]) & (xs + 0.5 <= b[2]) & (ys + 0.5 >= b[1]) & (ys + 0.5 <= b[3])
        covered.append(hit.mean())
        met += [any(box_iou(b, w) >= 0.3 for b in boxes) for w in wanted]
    mean = {k: float(np.mean(v)) if v else float("nan") for k, v in (("covered", covered), ("met", met), ("free", free))}
    return mean


@torch.no_grad()
def validate(net, held: list[tuple[np.ndarray, np.ndarray]], c: dict) -> dict:
    """`score` on held-out slices seen through the reference crop."""
    found = []
    for patch, _ in held:
        found.append(decode(net(torch.from_numpy(patch)[None, None].repeat(1, channels(c), 1, 1))[0].numpy(), c))
    return score(found, [label for _, label in held], c)


def train(fold: str) -> None:
    """Train or go on; checkpoint and curve in runs/detector/<fold>."""
    c, folder = config("detector"), RUNS / "detector" / fold
    start(c["seed"])
    net = build(c, fold)
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], c["learning_rate"], weight_decay=c["weight_decay"])
    average, first = Average(net, c["ema"]), 0
    if state := load(folder / "last.pt"):
        net.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.model.load_state_dict(state["average"])
        first = state["step"]
    real, held = sets.parts(fold)
    found = [sets.slices(s, c["crop_factor"]) for s in (real, sets.synthetic("train"))]
    pools = [p + [s for s in p if s.scar] for p in found]
    held = sets.slices(held or sets.synthetic("test")[:4], c["crop_factor"])
    held, losses, curve = [plain(s, c["size"]) for s in held], [], Curve(folder / "curve.csv")
    for step in tqdm(range(first, c["steps"]), initial=first, total=c["steps"], mininterval=10):
        set_rate(optimiser, c, step)
        x, y = batch(pools, c, step)
        net.train()
        loss = loss_of(net, x, y, c)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        average.update(net, step)
        losses.append(float(loss.detach()))
        done = step + 1
        if done % c["save_every"] == 0 or done == c["steps"]:
            parts = {"model": net.state_dict(), "optimiser": optimiser.state_dict()}
            save(folder / "last.pt", **parts, average=average.model.state_dict(), step=done)
        if done % c["validate_every"] == 0 or done == c["steps"]:
            curve.add(step=done, loss=float(np.mean(losses)), **validate(average.model, held, c))
            losses.clear()
            plot(folder)

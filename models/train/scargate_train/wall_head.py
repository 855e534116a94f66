"""A compact detector: the dense model's trunk up to stride 4 and an anchor-free head, in the YOLO output contract."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .data import SCAR
from .lesions import lesions
from .unet import UNet

STRIDE = 4


class WallHead(nn.Module):
    """[B, 1, S, S] in 0..1 -> [B, 5, N]: x0, y0, x1, y1 in input px and a score, N = (S / 4) ** 2.

    The trunk is a finished dense model and stays as it is; the head sees its map at stride 4 and its class probabilities.
    """

    def __init__(self, trunk: UNet, width: int = 64):
        super().__init__()
        self.trunk = trunk.eval().requires_grad_(False)
        c, layers = trunk.down[1][0].out_channels + 5, []
        for dilation in (1, 2, 4, 2):
            layers += [nn.Conv2d(c, width, 3, padding=dilation, dilation=dilation, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            c = width
        self.head = nn.Sequential(*layers)
        self.box, self.score = nn.Conv2d(c, 4, 1), nn.Conv2d(c, 1, 1)
        nn.init.constant_(self.box.bias, 1.5)
        nn.init.constant_(self.score.bias, -3.0)

    def train(self, mode: bool = True) -> "WallHead":
        """The trunk's batch norm stays in evaluation mode."""
        super().train(mode)
        self.trunk.eval()
        return self

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """What the head sees of pictures, at stride 4."""
        maps = self.trunk.encode(x)
        coarse = self.trunk.decode(maps, STRIDE)
        classes = F.pixel_shuffle(self.trunk.head(self.trunk.decode(maps)), 2).float().softmax(1)
        return torch.cat([coarse.float(), F.avg_pool2d(classes, STRIDE)], 1)

    def raw(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances to the four sides [B, 4, h, w] in px and score logits [B, h, w]."""
        with torch.no_grad():
            seen = self.seen(x)
        f = self.head(seen)
        return F.softplus(self.box(f).float()) * 2 * STRIDE, self.score(f).float()[:, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Decoded boxes and scores."""
        sides, score = self.raw(x)
        boxes = corners(sides)
        return torch.cat([boxes, score.sigmoid()[:, None]], 1).flatten(2)


def corners(sides: torch.Tensor) -> torch.Tensor:
    """Distances (left, top, right, bottom) at the cell centres -> corners [B, 4, h, w]."""
    h, w = sides.shape[-2:]
    y = (torch.arange(h, device=sides.device, dtype=sides.dtype) + 0.5).view(1, h, 1) * STRIDE
    x = (torch.arange(w, device=sides.device, dtype=sides.dtype) + 0.5).view(1, 1, w) * STRIDE
    left, top, right, bottom = sides.unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], 1)


def targets(label: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Per cell: box [4, h, w] and a mark [h, w]: 1 on a lesion, 0 off, -1 not judged (scar too small to count).

    The cells that a lesion covers by a quarter, or its best covered one, answer for it: a curved lesion need not cover
    the centre of its box.
    """
    h = label.shape[0] // STRIDE
    boxes, mark = np.zeros((4, h, h), np.float32), np.zeros((h, h), np.float32)

    def share(mask):
        return mask.reshape(h, STRIDE, h, STRIDE).mean((1, 3))

    mark[share(label >= SCAR) > 0] = -1
    for mask, box in lesions(label, least):
        covered = share(mask)
        cells = covered >= min(0.25, covered.max())
        mark[cells] = 1
        boxes[:, cells] = box[:, None]
    return boxes, mark


def giou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised IoU and IoU of boxes [n, 4]."""
    lo, hi = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    both = (hi - lo).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = both / union.clamp(min=1e-6)
    return iou - (hull - union) / hull.clamp(min=1e-6), iou


def loss(net: WallHead, x: torch.Tensor, labels: list[np.ndarray], least: int) -> torch.Tensor:
    """Quality-aware score loss (target 0.5 + IoU / 2 on lesions, 0 off them) + 2 x GIoU loss."""
    sides, score = net.raw(x)
    boxes, marks = (torch.from_numpy(np.stack(v)) for v in zip(*(targets(y, least) for y in labels), strict=True))
    on = marks == 1
    wanted, box_loss = torch.zeros_like(score), score.sum() * 0
    if on.any():
        g, iou = giou(corners(sides).permute(0, 2, 3, 1)[on], boxes.permute(0, 2, 3, 1)[on])
        box_loss = (1 - g).mean()
        wanted[on] = 0.5 + 0.5 * iou.detach()
    weight = (wanted - score.sigmoid().detach()).abs() ** 2 * (marks >= 0)
    bce = F.binary_cross_entropy_with_logits(score, wanted, weight=weight, reduction="sum")
    return bce / max(int(on.sum()), 8) + 2 * box_loss


"""The dense myocardium model: a small U-Net that reads a grey square and returns class logits."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def _block(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


def standard(x: torch.Tensor) -> torch.Tensor:
    """Grey values of each picture on one scale, mean 0.45 and SD 0.2, from the pixels above 0 within two SD of the mean.

    Black padding and far brighter objects set the percentile window of a whole slice, which may leave the heart a
    twentieth of the range; this undoes it.
    """
    inside = (x > 0).to(x.dtype)
    mean, sd = moments(x, inside)
    mean, sd = moments(x, inside * ((x - mean).abs() <= 2 * sd).to(x.dtype))
    return (0.45 + 0.2 * (x - mean) / sd).clamp(0, 1.5) * inside


def moments(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean and SD of each picture, [B, 1, 1, 1]."""
    total = weight.sum((1, 2, 3), keepdim=True) + 1
    mean = (x * weight).sum((1, 2, 3), keepdim=True) / total
    square = ((x - mean) ** 2 * weight).sum((1, 2, 3), keepdim=True) / total
    return mean, (square + 1e-6).sqrt()


class UNet(nn.Module):
    """[B, 1, S, S] in 0..1 -> [B, classes, S, S] logits; S is a multiple of 2 ** (levels + 1).

    Works on 2x2 px cells: they are folded into four channels at the entry and unfolded from the logits at the exit. On
    a CPU that costs 0.6 of the same network at full resolution, and the pictures hold no finer detail (an LV crop of
    160 px is about 70 native px). Per level two 3x3 convolutions with batch norm, bilinear up-sampling. `presence`
    judges from the coarsest map whether the ventricle is in the picture at all.
    """

    def __init__(self, base: int = 32, levels: int = 3, classes: int = 5):
        super().__init__()
        widths = [base * min(2**i, 8) for i in range(levels + 1)]
        self.down = nn.ModuleList([_block(4, widths[0])])
        self.down.extend(_block(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(
            _block(widths[i] + widths[i - 1], widths[i - 1]) for i in range(levels, 0, -1)
        )
        self.head = nn.Conv2d(widths[0], 4 * classes, 1)
        self.presence = Presence(widths[-1])

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The maps of all levels, finest (stride 2) first."""
        maps, x = [], F.pixel_unshuffle(standard(x), 2)
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            maps.append(x)
        return maps

    def decode(self, maps: list[torch.Tensor], stride: int = 2) -> torch.Tensor:
        """The decoder's map at a stride (2, 4, 8, ...) of the input."""
        *skips, x = maps
        for block in self.up:
            if 2 ** (1 + len(skips)) == stride:
                break
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], 1))
        return x

    def judge(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(class logits [B, classes, S, S], logit of "the ventricle is in the picture" [B])."""
        maps = self.encode(x)
        return F.pixel_shuffle(self.head(self.decode(maps)), 2), self.presence(Presence.pool(maps[-1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.judge(x)[0]


class Presence(nn.Module):
    """Is the left ventricle in this picture at all? From the coarsest map of a finished U-Net; logit > 0 means yes."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * channels, 64), nn.ReLU(), nn.Linear(64, 1))

    @staticmethod
    def pool(coarse: torch.Tensor) -> torch.Tensor:
        """Mean and maximum of each channel, [B, 2 C]."""
        return torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], 1)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.layers(pooled)[:, 0]


def turned(x: torch.Tensor, view: int, undo: bool = False) -> torch.Tensor:
    """One of the eight in-plane orientations of [B, C, S, S]; view 0 changes nothing, the first four are the mirror images."""
    steps = [(view & 4, lambda t: t.transpose(2, 3)), (view & 1, lambda t: t.flip(2)), (view & 2, lambda t: t.flip(3))]
    for wanted, step in reversed(steps) if undo else steps:
        x = step(x) if wanted else x
    return x


class Served(nn.Module):
    """What is exported: class probabilities averaged over orientations and over the nets, as their logarithm.

    All eight orientations make the answer independent of the picture's. Where the presence judgement says that the
    ventricle is not in the picture every pixel is background: a network that judges pixel by pixel leaves scraps of wall
    beyond base and apex, one decision per picture does not; `margin` moves it towards keeping the picture. `offsets` are
    added to the logit of scar and no-reflow together against normal wall, and of no-reflow against other scar.
    """

    def __init__(self, nets: list[UNet], views: int = 8, margin: float = 2.0, offsets: tuple[float, float] = (0.0, 0.0)):
        super().__init__()
        self.nets, self.views, self.margin, self.offsets = nn.ModuleList(nets), views, margin, offsets

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planes, present = 0.0, 0.0
        for net in self.nets:
            for view in range(self.views):
                logits, seen = net.judge(turned(x, view))
                planes = planes + turned(logits.softmax(1), view, undo=True)
                present = present + seen
        count = len(self.nets) * self.views
        p = self.moved(planes / count)
        absent = (present / count + self.margin < 0).to(x.dtype).view(-1, 1, 1, 1)
        return torch.cat([p[:, :1] + 100 * absent, p[:, 1:]], 1)

    def moved(self, p: torch.Tensor) -> torch.Tensor:
        """Log-probabilities with the shares of scar in the wall and of no-reflow in scar moved; the wall's stays."""
        scar = p[:, 3:].sum(1, keepdim=True)
        dark = p[:, 4:] * math.exp(self.offsets[1])
        parts = torch.cat([p[:, 3:4], dark], 1)
        parts = parts / (parts.sum(1, keepdim=True) + 1e-9)
        more = scar * math.exp(self.offsets[0])
        scale = (p[:, 2:3] + scar) / (p[:, 2:3] + more + 1e-9)
        return (torch.cat([p[:, :2], p[:, 2:3] * scale, parts * more * scale], 1) + 1e-6).log()

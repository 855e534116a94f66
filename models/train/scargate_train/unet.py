"""The dense myocardium model: a small U-Net that reads a grey square and returns class logits."""

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


class UNet(nn.Module):
    """[B, 1, S, S] in 0..1 -> [B, classes, S, S] logits; S is a multiple of 2 ** levels.

    Two 3x3 convolutions with batch norm per level, bilinear up-sampling (no checkerboard, exports cleanly).
    """

    def __init__(self, base: int = 16, levels: int = 4, classes: int = 5):
        super().__init__()
        widths = [base * min(2**i, 16) for i in range(levels + 1)]
        self.down = nn.ModuleList([_block(1, widths[0])])
        self.down.extend(_block(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(
            _block(widths[i] + widths[i - 1], widths[i - 1]) for i in range(levels, 0, -1)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The maps of all levels, finest first."""
        maps = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            maps.append(x)
        return maps

    def decode(self, maps: list[torch.Tensor], stride: int = 1) -> torch.Tensor:
        """The decoder's map at a stride (1, 2, 4, ...) of the input."""
        *skips, x = maps
        for block in self.up:
            if 2 ** len(skips) == stride:
                break
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], 1))
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.decode(self.encode(x)))


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


class Gated(nn.Module):
    """What is exported: the U-Net, all background where `Presence` says that the ventricle is not in the picture.

    A network that judges pixel by pixel leaves scraps of wall on slices beyond base and apex; one decision per picture
    does not. `margin` moves that decision towards keeping the picture.
    """

    def __init__(self, net: UNet, presence: Presence, margin: float):
        super().__init__()
        self.net, self.presence, self.margin = net, presence, margin

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.net.encode(x)
        absent = (self.presence(Presence.pool(maps[-1])) + self.margin < 0).to(x.dtype)
        logits = self.net.head(self.net.decode(maps))
        return torch.cat([logits[:, :1] + 100 * absent.view(-1, 1, 1, 1), logits[:, 1:]], 1)

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

    def features(self, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        """The decoder's map at a stride (1, 2, 4, ...) of the input."""
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            if 2 ** len(skips) == stride:
                break
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], 1))
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))

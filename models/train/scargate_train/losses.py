"""Losses, on logits once: Dice + CE for the dense model, 0.6 Dice + 0.2 BCE + 0.2 KL for the promptable one."""

import torch
from torch.nn import functional as F


def soft_dice(p: torch.Tensor, y: torch.Tensor, dims: tuple[int, ...], smooth: float = 1.0) -> torch.Tensor:
    """1 - Dice of probabilities against a target in 0..1, summed over `dims`, mean over the rest."""
    overlap, total = (p * y).sum(dims), p.sum(dims) + y.sum(dims)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


def dense_loss(logits: torch.Tensor, label: torch.Tensor, weights=(1.0, 1.0, 1.2, 1.3, 2.0)) -> torch.Tensor:
    """CE + batch Dice of the quantities that count: cavity, whole ring, scar incl. no-reflow, no-reflow."""
    ce = F.cross_entropy(logits, label, weight=torch.tensor(weights))
    p = logits.softmax(1)
    pairs = [
        (p[:, 1], label == 1),
        (p[:, 2:].sum(1), label >= 2),
        (p[:, 3:].sum(1), label >= 3),
        (p[:, 4], label == 4),
    ]
    shares = (0.2, 0.3, 0.4, 0.1)
    dice = sum(w * soft_dice(q, y.float(), (0, 1, 2), 50.0) for w, (q, y) in zip(shares, pairs, strict=True))
    return ce + dice


def soften(mask: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian softening of masks [B, 1, H, W], each image alone (never across the batch), kept within 0..1."""
    if sigma <= 0:
        return mask
    radius = max(1, round(3 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=mask.dtype)
    k = torch.exp(-(x**2) / (2 * sigma**2))
    k = k / k.sum()
    padded = F.pad(mask, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, k.view(1, 1, -1, 1)), k.view(1, 1, 1, -1)).clamp(0, 1)


def noisy_label_loss(logits: torch.Tensor, mask: torch.Tensor, sigma: float, shares=(0.6, 0.2, 0.2)) -> torch.Tensor:
    """Dice + BCE against the mask and KL(soft label || prediction) per pixel over scar / not scar.

    `logits` and `mask` are [B, 1, H, W]. After arXiv 2506.21151, with a single sigmoid and softening per image.
    """
    dice = soft_dice(logits.sigmoid(), mask, (1, 2, 3))
    bce = F.binary_cross_entropy_with_logits(logits, mask)
    soft = soften(mask, sigma).clamp(1e-6, 1 - 1e-6)
    entropy = -(soft * soft.log() + (1 - soft) * (1 - soft).log())
    kl = (F.binary_cross_entropy_with_logits(logits, soft, reduction="none") - entropy).clamp(0, 2).mean()
    return shares[0] * dice + shares[1] * bce + shares[2] * kl

"""Losses against values worked out by hand."""

import math

import pytest
import torch

from scargate_train import losses


def test_dice_of_half_overlap():
    p, y = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    p[..., :2, :], y[..., 1:3, :] = 1, 1
    assert losses.soft_dice(p, y, (1, 2, 3), 0.0).item() == pytest.approx(0.5)


def test_softening_is_per_image_and_keeps_mass():
    mask = torch.zeros(2, 1, 33, 33)
    mask[0, 0, 16, 16] = 1
    soft = losses.soften(mask, 1.0)
    assert soft[1].abs().max() == 0
    assert soft[0].sum().item() == pytest.approx(1, abs=1e-4)
    assert soft[0, 0, 16, 16].item() == pytest.approx(1 / (2 * math.pi), rel=0.02)


def test_noisy_label_loss_is_zero_for_a_certain_right_answer_without_softening():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 2:5] = 1
    loss = losses.noisy_label_loss((mask * 2 - 1) * 30, mask, 0.0)
    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_noisy_label_loss_by_hand():
    mask = torch.ones(1, 1, 2, 2)
    loss = losses.noisy_label_loss(torch.zeros(1, 1, 2, 2), mask, 0.0)
    dice = 1 - (2 * 2 + 1) / (2 + 4 + 1)
    assert loss.item() == pytest.approx(0.6 * dice + 0.4 * math.log(2), abs=1e-4)


def test_dense_loss_falls_towards_the_truth():
    label = torch.randint(0, 5, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(label, 5).permute(0, 3, 1, 2).float() * 20
    assert losses.dense_loss(right, label) < 0.01 < losses.dense_loss(right * 0, label)

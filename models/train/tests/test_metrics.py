"""Figures by case against values worked out by hand."""

import numpy as np
import pytest

from scargate_train import baselines, metrics


def ring(size=80, inner=12, outer=22):
    yy, xx = np.indices((size, size)) + 0.5
    r, angle = np.hypot(yy - size / 2, xx - size / 2), np.degrees(np.arctan2(yy - size / 2, xx - size / 2)) % 360
    return np.select([r < inner, r < outer], [1, 2], 0).astype(np.uint8), r, angle


def test_area_and_perimeter_similarity():
    p, r = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    p[1:4, 1:4], r[1:5, 1:5] = True, True
    assert metrics.perimeter(p) == 8 and metrics.perimeter(r) == 12
    assert metrics.slice_row(p, r) == pytest.approx([18 / 25, 1 - 7 / 25, 1 - 4 / 20])


def test_transmurality_of_half_a_wall_in_one_sector():
    label, r, angle = ring()
    label[(r >= 12) & (r < 17) & (angle < 60)] = 3
    found = metrics.transmurality(label, (39.5, 39.5))
    np.testing.assert_allclose(found, [50, 0, 0, 0, 0, 0], atol=6)
    assert np.isnan(metrics.transmurality(label * 0, (39.5, 39.5))).all()
    plain = ring()[0]
    errors = metrics.transmurality_errors(plain[None], label[None])
    assert sum(errors) == pytest.approx(50, abs=8) and len(errors) == 6


def test_detection_limit_takes_small_scar_away():
    label, r, angle = ring()
    reference, label = label.copy(), label
    label[(label == 2) & (angle < 5)] = 3
    row = metrics.case_row("N1", label[None], reference[None])
    assert row["fraction"] == pytest.approx(5 / 3.6, abs=0.5)
    gone = metrics.limited(row, 2.5)
    assert gone["fraction"] == 0 and np.isnan(gone["scar"]) and metrics.limited(row, 0.5) is row


def test_thresholds_find_a_bright_sector_whatever_the_zero_level():
    label, r, angle = ring()
    truth = label.copy()
    truth[(label == 2) & (angle < 70)] = 3
    image = np.random.default_rng(0).normal(0, 0.02, label.shape) + (truth == 3) + 0.8 * (truth == 1)
    for offset in (0.0, -5.0):
        for name, found in baselines.labels_of(image[None] + offset, label[None]).items():
            assert metrics.dice(found[0] >= 3, truth >= 3) > 0.9, name

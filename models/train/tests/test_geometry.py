"""Regions, resampling and normalisation follow the gateway's contract."""

import numpy as np

from scargate_train import geometry
from scargate_train.geometry import Region


def test_crop_of_a_ramp_is_exact():
    ramp = np.arange(40.0)[None, :].repeat(40, 0)
    patch, inside = geometry.crop(ramp, Region(20, 20, 16), 32)
    assert inside.all()
    np.testing.assert_allclose(patch[0], 12 + (np.arange(32) + 0.5) / 2 - 0.5)


def test_fast_and_exact_resampling_agree():
    rng = np.random.default_rng(0)
    image = np.cumsum(np.cumsum(rng.normal(0, 1, (64, 64)), 0), 1).astype(np.float32)
    region = Region(30.3, 33.1, 40.7)
    exact, _ = geometry.crop(image, region, 48)
    fast = geometry.warp(image, geometry.matrix(region, 48), 48)
    assert np.abs(exact - fast).max() < 0.02 * np.ptp(image)


def test_there_and_back():
    yy, xx = np.mgrid[:80, :80]
    disc = (np.hypot(yy - 42, xx - 37) < 15).astype(float)
    region = Region(37.5, 42.5, 50)
    patch, _ = geometry.crop(disc, region, 160)
    again, inside = geometry.back(patch, region, 80, 80)
    assert ((again * inside > 0.5) == (disc > 0.5)).mean() > 0.999


def test_outside_the_image_is_zero_and_not_counted():
    patch, inside = geometry.crop(np.full((20, 20), -5.0) + np.eye(20), Region(10, 10, 40), 40)
    assert inside.sum() == 400
    normal = geometry.normalise(patch, inside, 1, 99)
    assert normal[~inside].max() == 0 and normal.max() == 1 and normal.min() == 0


def test_normalisation_ignores_scale_and_offset():
    image = np.random.default_rng(1).normal(0, 1, (32, 32))
    inside = np.ones((32, 32), bool)
    a, b = (geometry.normalise(v, inside, 1, 99) for v in (image, 250 * image - 1000))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_false_ring_does_not_join_the_heart():
    labels = np.zeros((6, 64, 64), np.uint8)
    labels[1:5, 20:40, 20:40] = 2
    labels[1:5, 25:35, 25:35] = 1
    labels[5, 2:8, 2:8] = 2
    heart = geometry.heart(labels)
    assert heart[1:5].sum() == 1600 and not heart[5].any()
    region = geometry.from_masks((labels >= 2) & heart, 1.5)
    assert (region.cx, region.cy, region.side) == (30, 30, 30)

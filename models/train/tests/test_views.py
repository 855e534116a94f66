"""Augmentation keeps image and label together and stays in range; batches are a function of seed and step."""

import numpy as np
import torch

from scargate_train import detector, myocardium, sets, synthetic
from scargate_train.augment import View, draw
from scargate_train.common import config
from scargate_train.geometry import whole
from scargate_train.lesions import components, empty_box, jitter

CASE = synthetic.stack(1)


def test_a_view_moves_image_and_label_alike():
    label = CASE.labels[4]
    image = label.astype(np.float32)
    for seed in range(10):
        quiet = View(gamma=0, bias=0, noise=0, bend=0.05 * (seed % 2))
        x, y = draw(image, label, whole(*image.shape), 96, quiet, np.random.default_rng(seed))
        assert x.min() >= 0 and x.max() <= 1 and x.dtype == np.float32
        assert x[y == 1].mean() < x[y == 2].mean()
        assert abs((y > 0).mean() / (label > 0).mean() - 1) < 1.2


def test_batches_repeat():
    c = config("myocardium") | {"size": 64}
    stage = c["tune"]
    pool = sets.slices([CASE], 1.5)
    a, b = (myocardium.batch([pool, pool], stage, c, 5) for _ in range(2))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert not torch.equal(a[0], myocardium.batch([pool, pool], stage, c, 6)[0])


def test_lesion_boxes():
    label = np.zeros((64, 64), np.uint8)
    label[10:20, 10:30] = 3
    label[12:14, 31:34] = 4  # one pixel gap: same lesion
    label[40:44, 40:44] = 3
    label[60, 60] = 3
    boxes = components(label, 10)
    np.testing.assert_array_equal(boxes, [[10, 10, 34, 20], [40, 40, 44, 44]])
    padded = detector.targets([label, label * 0], config("detector") | {"size": 64, "least": 10})
    assert padded.shape == (2, 2, 5) and (padded[1, :, 0] == -1).all()


def test_jittered_prompts_still_hold_most_of_the_lesion():
    rng, box = np.random.default_rng(0), np.array([100, 100, 160, 130], np.float32)
    for _ in range(50):
        j = jitter(box, 256, rng)
        w, h = min(j[2], 160) - max(j[0], 100), min(j[3], 130) - max(j[1], 100)
        assert w * h / (60 * 30) > 0.6 and (j[2] - j[0]) <= 60 * 1.2 * 1.3 + 1


def test_false_boxes_hold_no_scar():
    rng = np.random.default_rng(0)
    for _ in range(20):
        box = empty_box(CASE.labels[4], rng)
        if box is not None:
            x0, y0, x1, y1 = box.astype(int)
            assert not (CASE.labels[4][y0:y1, x0:x1] >= 3).any()


def test_suppression_keeps_the_best_of_overlapping_boxes():
    rows = np.array([[0, 0, 10, 10, 0.5], [1, 1, 11, 11, 0.9], [30, 30, 40, 40, 0.3]], np.float32)
    np.testing.assert_array_equal(detector.nms(rows, 0.5, 8)[:, 4], np.array([0.9, 0.3], np.float32))

"""What is exported: independent of the picture's orientation, scar moved by its offset alone, empty pictures empty."""

import numpy as np
import torch

from scargate_train import robust, synthetic
from scargate_train.unet import Served, UNet, turned


def nets(count):
    torch.manual_seed(0)
    return [UNet(8, 2).eval() for _ in range(count)]


def test_orientations_are_eight_and_undone():
    x = torch.rand(1, 1, 6, 6)
    views = [turned(x, k) for k in range(8)]
    assert len({tuple(v.flatten().tolist()) for v in views}) == 8
    assert all(torch.equal(turned(v, k, undo=True), x) for k, v in enumerate(views))


def test_the_answer_turns_with_the_picture():
    net, x = Served(nets(2)), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        plain = net(x)
        for k in range(8):
            torch.testing.assert_close(turned(net(turned(x, k)), k, undo=True), plain, atol=1e-4, rtol=1e-4)


def test_offset_moves_scar_against_wall_only():
    members, x = nets(1), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        plain, moved = (Served(members, 1, 9.0, offsets)(x).softmax(1) for offsets in ((0.0, 0.0), (-1.0, 2.0)))
    torch.testing.assert_close(plain[:, :2], moved[:, :2], atol=1e-4, rtol=1e-3)
    ratio = (moved[:, 3:].sum(1) / moved[:, 2]) / (plain[:, 3:].sum(1) / plain[:, 2])
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(np.exp(-1))), atol=1e-2, rtol=1e-2)
    dark = (moved[:, 4] / moved[:, 3]) / (plain[:, 4] / plain[:, 3])
    torch.testing.assert_close(dark, torch.full_like(dark, float(np.exp(2))), atol=1e-1, rtol=1e-2)


def test_a_picture_without_the_ventricle_is_background():
    with torch.no_grad():
        assert (Served(nets(1), 8, -1e4)(torch.rand(1, 1, 32, 32)).argmax(1) == 0).all()


def test_perturbations_keep_picture_and_label_together():
    case = synthetic.stack(1)
    x = robust.unit(case.images)
    for name, change in robust.PERTURBATIONS.items():
        a, b = change(x, case.labels)
        assert a.shape == b.shape and b.dtype == np.uint8, name
        assert a[b == 1].mean() > a[b == 2].mean(), name

"""The compact detector: targets by hand, output contract, and that its loss can be learned."""

import numpy as np
import torch

from scargate_train import wall_head
from scargate_train.unet import UNet


def label():
    y = np.zeros((32, 32), np.uint8)
    y[4:12, 8:20] = 3
    y[30, 30] = 3
    return y


def test_targets():
    boxes, mark = wall_head.targets(label(), 4)
    assert (mark[1:3, 2:5] == 1).all() and (mark == 1).sum() == 6
    assert mark[7, 7] == -1
    np.testing.assert_array_equal(boxes[:, 1, 2], [8, 4, 20, 12])


def test_corners_and_giou():
    sides = torch.ones(1, 4, 2, 2)
    np.testing.assert_array_equal(wall_head.corners(sides)[0, :, 1, 0], [1, 5, 3, 7])
    a, b = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]])
    g, iou = wall_head.giou(a, b)
    assert abs(iou.item() - 1 / 3) < 1e-6 and abs(g.item() - 1 / 3) < 1e-6


def test_it_learns_one_box_and_leaves_the_trunk_alone():
    torch.manual_seed(0)
    net, y = wall_head.WallHead(UNet(8, 3)), label()
    before = {k: v.clone() for k, v in net.trunk.state_dict().items()}
    x = torch.from_numpy((y == 3).astype(np.float32))[None, None]
    optimiser = torch.optim.AdamW((p for p in net.parameters() if p.requires_grad), 3e-3)
    for _ in range(80):
        loss = wall_head.loss(net.train(), x, [y], 4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    out = net(x)[0].detach().numpy()
    assert out.shape == (5, 64)
    best = out[:, out[4].argmax()]
    assert best[4] > 0.4
    np.testing.assert_allclose(best[:4], [8, 4, 20, 12], atol=3)
    assert all(torch.equal(v, before[k]) for k, v in net.trunk.state_dict().items())

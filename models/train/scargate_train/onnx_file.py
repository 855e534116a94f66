"""ONNX files: export, half-precision storage with casts in the graph, metadata, parity with PyTorch."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def export(module, inputs: tuple, path: Path, names: tuple[list[str], list[str]], dynamic: dict) -> None:
    """Trace `module` to ONNX at opset 17 (fp32), constants folded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            inputs,
            str(path),
            input_names=names[0],
            output_names=names[1],
            dynamic_axes=dynamic,
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )


def store_half(path: Path, keep: tuple[str, ...] = ()) -> None:
    """Store large fp32 weights as fp16 with a Cast to fp32 behind them: half the file, fp32 arithmetic.

    A runtime folds the casts at load. Tensors of up to 256 elements and names containing one of `keep` stay fp32.
    """
    model = onnx.load(str(path))
    casts, graph = [], model.graph
    large_constants_to_initializers(graph)
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size <= 256 or any(k in tensor.name for k in keep):
            continue
        if np.abs(values).max() > 6e4:
            continue
        name, half = tensor.name, numpy_helper.from_array(values.astype(np.float16), tensor.name + ".half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def large_constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Make weights that were folded into Constant nodes (attention biases) ordinary initializers."""
    nodes = []
    for node in graph.node:
        value = node.attribute[0].t if node.op_type == "Constant" and node.attribute[0].HasField("t") else None
        if value is not None and np.prod(value.dims) > 256:
            value.name = node.output[0]
            graph.initializer.append(value)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def describe(path: Path, facts: dict[str, str]) -> None:
    """Write metadata_props."""
    model = onnx.load(str(path))
    helper.set_model_props(model, facts)
    onnx.save(model, str(path))


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session with fixed threads and no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def parity(path: Path, module, feeds: dict[str, np.ndarray]) -> float:
    """Largest difference between the file and the module on one input, relative to the largest output."""
    with torch.no_grad():
        out = module.eval()(*(torch.from_numpy(v) for v in feeds.values()))
    theirs = [t.numpy() for t in (out if isinstance(out, tuple) else (out,))]
    mine = session(path).run(None, feeds)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6)) for a, b in zip(mine, theirs, strict=True))

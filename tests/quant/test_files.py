"""Models read from files are quantized in the layout of their framework: a scale for every output there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from coppice.formats import open_upload
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request, Task
from coppice.steps.quantize import Outcome, quantize
from coppice.steps.restore import usable
from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential

DRAWN = np.random.default_rng(0)


def drawn(*shape: int) -> NDArray[np.float32]:
    return DRAWN.standard_normal(shape).astype(np.float32)


def quantized(framework: Framework, folder: Path, model: Path, samples: NDArray[Any], name: str | None) -> Outcome:
    dataset = folder / "samples.npz"
    np.savez(dataset, **{name or "x": samples})  # type: ignore[arg-type]  # names are the caller's
    files = {Part.MODEL: model, Part.DATASET: dataset}
    request = Request.model_validate(
        {
            "framework": framework,
            "task": Task.QUANTIZE,
            "weights": "int4",
            "activations": "float32",
            "output_format": "onnx",
            "files": {part: path.name for part, path in files.items()},
        }
    )
    source = open_upload(request, files)
    network, basis = usable(source.network)
    return quantize(network, network.module, request, basis)


def rows_of_scales(outcome: Outcome) -> dict[str, tuple[int, ...]]:
    """Layer -> shape of its scales; the values are codes times these."""
    found = {}
    for layer in outcome.layers:
        coded = outcome.model.coded[layer.tensor]
        values = coded.codes.numpy().astype(np.float32) * coded.scale.numpy()
        assert np.array_equal(outcome.model.module.get_parameter(layer.tensor).detach().numpy(), values)
        found[layer.name] = tuple(coded.scale.shape)
    return found


def test_keras_kernels_keep_their_layout(tmp_path: Path) -> None:
    model = tmp_path / "model.h5"
    model.write_bytes(sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))

    outcome = quantized(Framework.KERAS, tmp_path, model, drawn(40, *DOCUMENTS_INPUT), None)

    assert rows_of_scales(outcome) == {
        "conv2d": (1, 1, 1, 32),
        "conv2d_1": (1, 1, 1, 64),
        "conv2d_2": (1, 1, 1, 32),
        "dense": (1, 100),
        "dense_1": (1, 10),
    }
    assert [str(layer.precision) for layer in outcome.layers] == ["int8", "int4", "int4", "int4", "int8"]
    assert all(str(layer.rounding) == "gptq" for layer in outcome.layers)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Conv -> Relu -> depthwise Conv -> Flatten -> Gemm, transposed, -> MatMul -> Add."""
    tensors = {
        "w0": drawn(8, 3, 3, 3),
        "b0": drawn(8),
        "w1": drawn(8, 1, 3, 3),
        "w2": drawn(20, 128),
        "b2": drawn(20),
        "w3": drawn(20, 4),
        "b3": drawn(4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], name="first"),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="second", group=8),
        helper.make_node("Flatten", ["c1"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["g"], name="third", transB=1),
        helper.make_node("MatMul", ["g", "w3"], ["m"], name="fourth"),
        helper.make_node("Add", ["m", "b3"], ["y"]),
    ]
    made = helper.make_graph(
        nodes,
        "exported",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    path = tmp_path / "model.onnx"
    onnx.save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_initializers_keep_their_layout(tmp_path: Path, exported: Path) -> None:
    samples = drawn(60, 3, 8, 8)

    outcome = quantized(Framework.ONNX, tmp_path, exported, samples, "x")

    assert sorted(rows_of_scales(outcome).values()) == [(1, 4), (8, 1, 1, 1), (8, 1, 1, 1), (20, 1)]
    with torch.no_grad():
        found = outcome.model.module(torch.from_numpy(samples))
    wanted = _by_hand(exported, samples)
    error = np.square(np.asarray(found if isinstance(found, torch.Tensor) else found[0]) - wanted).mean()
    assert 0 < error < 0.01 * wanted.var()


def _by_hand(model: Path, samples: NDArray[Any]) -> NDArray[Any]:
    """What the file gives in a stock runtime, in floats."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": samples})[0])

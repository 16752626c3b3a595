"""A model whose weights were repaired is no masked original any more; its file gives what the repaired module gives."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import coppice
from coppice.records.sweep import Merit

pytestmark = pytest.mark.slow


def model() -> onnx.ModelProto:
    """Two layers of which the second hears the same from several channels of the first: much can be repaired."""
    draw = np.random.default_rng(0)
    first = np.repeat(draw.normal(size=(4, 6)), 4, axis=0) + 0.1 * draw.normal(size=(16, 6))
    tensors = {"w1": first, "b1": draw.normal(size=16), "w2": draw.normal(size=(5, 16)), "b2": draw.normal(size=5)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value.astype("float32"), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(found: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, {"x": x})
    return outputs[0]


def test_a_sweep_gives_models_that_are_nearer_to_the_original_than_their_cuts() -> None:
    original = model()
    samples, new = (np.random.default_rng(seed).normal(size=(256, 6)).astype("float32") for seed in (1, 2))
    swept = coppice.sweep(original, percents=[0.25, 0.5], samples=samples)
    cut = coppice.sweep(original, percents=[0.25, 0.5], samples=samples, restore=False)

    assert swept.report.merit is Merit.AGREEMENT
    wanted = run(original, new)
    for ratio, result in swept.results.items():
        assert (result.report.repaired, cut.results[ratio].report.repaired) == (True, False)
        errors = [np.square(run(found.results[ratio].model, new) - wanted).mean() for found in (swept, cut)]
        assert errors[0] < errors[1] / 2

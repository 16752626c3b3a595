"""Operators of ONNX Runtime's own, as its optimizer writes them, held to what the runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper

from coppice.formats.onnx.file import examined
from coppice.formats.onnx.network import build_network, graph_of
from tests.onnx.builders import Array, graph, initializers, pruned, run, weights

X = weights(2, 5, 8, seed=1)
#: Two samples, the second with two words less.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
VECTORS = {"scale": weights(8, seed=2), "shift": weights(8, seed=3), "more": weights(8, seed=4)}
QKV = {"w": weights(8, 24), "b": weights(24), "mask": MASK}
SKIP = {"skip": weights(2, 5, 8, seed=5), **VECTORS}


def fused(operator: str, *inputs: str, **attributes: Any) -> NodeProto:
    domain = "" if operator.startswith("Simplified") else "com.microsoft"
    return helper.make_node(operator, ["x", *inputs], ["y"], domain=domain, **attributes)


#: The node that makes `y` of `x`, and its constants.
NODES: dict[str, tuple[NodeProto, dict[str, Array]]] = {
    "matmul, transposed": (fused("FusedMatMul", "w", transB=1, alpha=0.3), {"w": weights(6, 8)}),
    "gelu": (fused("Gelu"), {}),
    "gelu of a bias": (fused("BiasGelu", "more"), VECTORS),
    "fast gelu": (fused("FastGelu", "more"), VECTORS),
    "quick gelu": (fused("QuickGelu", alpha=1.5), {}),
    "rms norm": (fused("SimplifiedLayerNormalization", "scale", axis=-1, epsilon=1e-4), VECTORS),
    "skip and layer norm": (fused("SkipLayerNormalization", "skip", "scale", "shift", "more", epsilon=1e-3), SKIP),
    "skip and rms norm": (fused("SkipSimplifiedLayerNormalization", "skip", "scale", "more"), SKIP),
    "attention": (fused("Attention", "w", "b", num_heads=2), QKV),
    "attention with a mask": (fused("Attention", "w", "b", "mask", num_heads=2), QKV),
    "attention to what came before": (fused("Attention", "w", "b", num_heads=4, unidirectional=1, scale=0.7), QKV),
    "attention of narrow keys": (
        fused("Attention", "w", "b", num_heads=2, qkv_hidden_sizes=[4, 4, 8]),
        {"w": weights(8, 16), "b": weights(16)},
    ),
    "heads that come apart": (
        fused("MultiHeadAttention", "k", "v", "b", "mask", num_heads=2),
        {"k": weights(2, 5, 8, seed=6), "v": weights(2, 5, 8, seed=7), "b": weights(24), "mask": MASK},
    ),
    "a cache, which the runtime itself computes": (
        fused("Attention", "w", "b", "", "past", num_heads=2),
        {**QKV, "past": weights(2, 2, 2, 3, 4)},
    ),
}


@pytest.mark.parametrize("case", [pytest.param(NODES[name], id=name) for name in NODES])
def test_a_node_is_computed_as_the_runtime_does(case: tuple[NodeProto, dict[str, Array]]) -> None:
    node, constants = case
    used = {name: array for name, array in constants.items() if name in node.input}
    if "past" in used:
        node.output.append("present")
    model = graph([node], used, inputs={"x": [2, 5, 8]}, outputs={"y": [2, 5, "width"]}, opset=13)
    found = build_network(model, graph_of(examined(model, "model")))(torch.from_numpy(X))

    np.testing.assert_allclose(found.detach(), run(model, x=X)[0], rtol=1e-4, atol=1e-5)


def test_fused_attention_loses_widths_of_its_heads_and_says_so(tmp_path: Path) -> None:
    model = graph(
        [
            helper.make_node("Attention", ["x", "w", "b"], ["a"], name="att", domain="com.microsoft", num_heads=2),
            helper.make_node("MatMul", ["a", "out"], ["y"], name="out"),
        ],
        {"w": weights(8, 24), "b": weights(24), "out": weights(8, 3)},
        inputs={"x": ["batch", 5, 8]},
        outputs={"y": ["batch", 5, 3]},
        opset=13,
    )
    cut = pruned(model, tmp_path).model
    attention = {one.name: helper.get_attribute_value(one) for one in cut.graph.node[0].attribute}

    assert initializers(cut)["w"].shape == (8, 12)
    assert initializers(cut)["out"].shape == (4, 3)
    assert attention["scale"] == pytest.approx(0.5)  # of heads that were four wide, as it was trained
    assert run(cut, x=X)[0].shape == (2, 5, 3)


def test_half_a_network_that_only_the_runtime_computes_stays_and_the_rest_goes(tmp_path: Path) -> None:
    # Three rounds of a convolution that stands in the graph, too, in a Loop.
    kinds: dict[str, tuple[int, list[int] | None]] = {
        "i": (TensorProto.INT64, []),
        "on": (TensorProto.BOOL, []),
        "state": (TensorProto.FLOAT, None),
    }
    given = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in kinds.items()]
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["state", "w2"], ["next"], pads=[1] * 4),
            helper.make_node("Identity", ["on"], ["go"]),
        ],
        "body",
        given,
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    model = graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1] * 4, name="first"),
            helper.make_node("Conv", ["a", "w2"], ["b"], pads=[1] * 4, name="second"),
            helper.make_node("Loop", ["three", "yes", "b"], ["c"], body=body, name="again"),
            helper.make_node("Conv", ["c", "w3"], ["d"], name="third"),
            helper.make_node("Conv", ["d", "w4"], ["y"], name="fourth"),
        ],
        {
            "w1": weights(8, 3, 3, 3),
            "w2": weights(8, 8, 3, 3),
            "w3": weights(6, 8, 1, 1),
            "w4": weights(4, 6, 1, 1),
            "three": np.array(3),
            "yes": np.array(True),
        },
        inputs={"x": ["batch", 3, 8, 8]},
        outputs={"y": ["batch", 4, 8, 8]},
        opset=16,
    )
    found = pruned(model, tmp_path)
    shapes = {name: array.shape for name, array in initializers(found.model).items()}

    assert {name: shapes[name] for name in ("w1", "w2", "w3", "w4")} == {
        "w1": (8, 3, 3, 3),
        "w2": (8, 8, 3, 3),
        "w3": (3, 8, 1, 1),
        "w4": (4, 3, 1, 1),
    }
    assert {entry.layers[0] for entry in found.frozen if "'again' is a Loop" in entry.reason} == {"first", "second"}
    onnx.checker.check_model(found.model)
    assert run(found.model, x=weights(2, 3, 8, 8))[0].shape == (2, 4, 8, 8)

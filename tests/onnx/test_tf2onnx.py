"""What tf2onnx writes as nobody else does: norms that count by shapes, einsums that ask a constant for sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from coppice.records.report import Check
from tests.onnx.builders import between, initializers, numbers, pruned, run, weights, with_zeros

node = helper.make_node
X = weights(2, 3, 8, 8, seed=1)


def test_a_layer_norm_that_counts_its_channels_by_their_shape_loses_channels(tmp_path: Path) -> None:
    # As tf2onnx writes a fused one: the sum of squares, divided by a size.
    model = between(
        node("ReduceMean", ["a"], ["mean"], axes=[1]),
        node("Sub", ["a", "mean"], ["centred"]),
        node("ReduceSumSquare", ["centred"], ["squares"], axes=[1]),
        node("Shape", ["a"], ["sizes"]),
        node("Gather", ["sizes", "one"], ["channels"]),
        node("ReduceProd", ["channels"], ["product"], keepdims=0),
        node("Cast", ["product"], ["count"], to=TensorProto.FLOAT),
        node("Div", ["squares", "count"], ["variance"]),
        node("Sqrt", ["variance"], ["deviation"]),
        node("Div", ["centred", "deviation"], ["z"]),
        opset=13,
        constants={"one": numbers(1)},
    )
    cut = pruned(model, tmp_path)

    assert cut.verification.check is Check.STATISTICS
    assert initializers(cut.model)["w1"].shape == (4, 3, 3, 3)


def test_the_shape_of_a_constant_is_numbers_that_follow_what_they_are_used_for(tmp_path: Path) -> None:
    # As tf2onnx writes an einsum: the sizes of a weight that it has turned and stored a second time.
    model = between(
        node("Shape", ["turned"], ["shape"]),
        node("Gather", ["shape", "last"], ["channels"]),
        node("Concat", ["zero", "channels", "rest"], ["flat"], axis=0),
        node("Reshape", ["a", "flat"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("Reshape", ["c", "square"], ["z"]),
        opset=13,
        constants={
            "turned": weights(3, 3, 3, 8),
            "last": numbers(3),
            "zero": numbers(0),
            "rest": numbers(64),
            "square": numbers(0, 0, 8, 8),
        },
    )
    cut = pruned(model, tmp_path)

    assert initializers(cut.model)["w1"].shape == (4, 3, 3, 3)
    assert "turned" not in initializers(cut.model)
    expected = run(with_zeros(model, cut.model, "w1", "b1"), x=X)[0]
    np.testing.assert_allclose(run(cut.model, x=X)[0], expected, rtol=0, atol=1e-4 * abs(expected).max())

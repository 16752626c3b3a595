"""A plan that was made of an ONNX model, edited, and replayed on other weights of the same graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import coppice
from coppice.errors import ParameterInvalid
from tests.onnx.builders import between as around
from tests.onnx.builders import initializers, run, weights

X = weights(2, 3, 8, 8, seed=1)
KEPT = [0, 3, 5]


def _model(**changed: np.ndarray) -> onnx.ModelProto:
    model = around(helper.make_node("Relu", ["a"], ["z"], name="act"), opset=17)
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("as_path", [False, True])
def test_an_edited_plan_cuts_other_weights_as_if_they_were_zero(as_path: bool, tmp_path: Path) -> None:
    coppice.prune(_model(), percent=0.5).plan.save(tmp_path / "plan.json")
    plan = coppice.Plan.load(tmp_path / "plan.json").keeping("first", KEPT)
    filters, biases = weights(8, 3, 3, 3, seed=5), weights(8, seed=5)
    other = _model(w1=filters, b1=biases)
    onnx.save_model(other, tmp_path / "other.onnx")
    result = coppice.apply(tmp_path / "other.onnx" if as_path else other, plan)

    mask = np.isin(np.arange(8), KEPT).astype(np.float32)
    masked = _model(w1=filters * mask[:, None, None, None], b1=biases * mask)
    assert result.report.verification.check.value == "exact"
    assert initializers(result.model)["w1"].shape == (3, 3, 3, 3)
    assert np.array_equal(initializers(result.model)["w1"], filters[KEPT])
    np.testing.assert_allclose(run(result.model, x=X)[0], run(masked, x=X)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_plan_of_another_graph_is_refused() -> None:
    plan = coppice.prune(_model(), percent=0.5).plan
    with pytest.raises(ParameterInvalid, match=r"another architecture: .* has shape \(6, 3, 3, 3\) in the model"):
        coppice.apply(_model(w1=weights(6, 3, 3, 3), b1=weights(6), w2=weights(4, 6, 1, 1)), plan)

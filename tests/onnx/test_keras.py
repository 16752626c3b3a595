"""A pruned Keras model's ONNX file: channels last, equal to what our reader makes of the pruned Keras file itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from coppice import pipeline
from coppice.formats.keras.source import KerasSource
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from tests.keras_h5 import Layer, convolution, dense, sequential
from tests.onnx.builders import run

pytestmark = pytest.mark.slow


def test_a_pruned_keras_model_comes_as_onnx_that_takes_what_the_keras_model_takes(tmp_path: Path) -> None:
    mean = Layer(kind="GlobalAveragePooling2D", name="mean", config={"data_format": "channels_last"})
    layers = [convolution("conv", 3, 8), mean, dense("hidden", 8, 6, "relu"), dense("last", 6, 4, "softmax")]
    given = tmp_path / "net.h5"
    given.write_bytes(sequential(layers, (12, 12, 3)))
    request = Request(framework=Framework.KERAS, percent=0.5, files={Part.MODEL: given.name})
    report = pipeline.run(request, {Part.MODEL: given}, tmp_path, lambda _: None)
    files = {artifact.name: tmp_path / artifact.file for artifact in report.artifacts}

    exported = onnx.load(files["onnx"])
    (declared,) = exported.graph.input
    assert [one.dim_value for one in declared.type.tensor_type.shape.dim][1:] == [12, 12, 3]
    x = np.random.default_rng(0).random((2, 12, 12, 3), np.float32)
    with torch.no_grad():
        expected = KerasSource(files["model"], files["model"].name, seed=0).network.module(torch.from_numpy(x))
    np.testing.assert_allclose(run(exported, **{declared.name: x})[0], expected.numpy(), atol=1e-5)

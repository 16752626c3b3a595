"""`coppice.quantize` on live models: the files that are given are those that a stock runtime takes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import coppice
from coppice.errors import CoppiceError
from coppice.records.quantization import Precision
from coppice.records.report import Arithmetic

pytestmark = pytest.mark.slow


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    return nn.Sequential(*layers).eval()


def samples() -> torch.Tensor:
    return torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def given(path: Path, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def test_a_pruned_live_model_becomes_a_file_of_integers(tmp_path: Path) -> None:
    model, x = net(), samples()
    pruned = coppice.prune(model, percent=0.5, example_inputs=x[:1], samples=x)
    before = {name: entry.clone() for name, entry in pruned.model.state_dict().items()}
    found = coppice.quantize(pruned.model, precision="int8", samples=x, out=tmp_path / "small")

    assert found.report.quantized is not None
    assert found.report.quantized.arithmetic is Arithmetic.INTEGER
    assert found.files["quantized"].parent == tmp_path / "small"
    # The model in hand is as it was.
    assert all(torch.equal(entry, before[name]) for name, entry in pruned.model.state_dict().items())
    signal = pruned.model.eval()(x).detach()
    noise = given(found.files["quantized"], x) - signal
    assert 10 * np.log10(float(signal.square().sum() / noise.square().sum())) > 20


def test_an_onnx_model_is_taken_by_its_path(tmp_path: Path) -> None:
    model, x = net(), samples()
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its older exporter
        torch.onnx.export(model, (x[:1],), str(path), dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"])
    found = coppice.quantize(str(path), weights="int4", layers={"*": "int4"}, out=tmp_path / "small")

    assert found.report.quantized is not None
    assert {layer.precision for layer in found.report.quantized.layers} == {Precision.INT4}
    held = sum(len(tensor.raw_data) for tensor in onnx.load(found.files["quantized"]).graph.initializer)
    floats = sum(4 * entry.numel() for entry in model.parameters())
    assert floats / 8 < held < floats / 5


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    [
        ({}, "parameter_missing", "precision"),
        ({"precision": "int8"}, "samples_missing", "dataset"),
        ({"precision": "bfloat16"}, "precision_impossible", "format"),
        ({"precision": "int4", "format": "tflite"}, "precision_impossible", "format"),
        ({"precision": "int4", "layers": {"9": "int8"}}, "unknown_layer", None),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, asked: dict[str, Any], code: str, field: str | None) -> None:
    with pytest.raises(CoppiceError) as raised:
        coppice.quantize(net(), example_inputs=samples()[:1], out=tmp_path / "small", **asked)
    assert raised.value.code == code
    assert field in (None, raised.value.field)


def test_a_keyword_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="percent"):
        coppice.quantize(net(), precision="int4", percent=0.5, out=tmp_path)  # type: ignore[call-arg]  # which is told

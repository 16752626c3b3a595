"""Quantized ONNX of every kind of upload, and the graphs that differ from what torch exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from coppice.errors import BadUpload, UnsupportedLayer
from coppice.records.frameworks import Framework
from coppice.records.quantization import Activations, Precision
from coppice.records.report import Arithmetic
from coppice.records.request import Part
from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential
from tests.onnx.builders import Array, between, graph, numbers, weights
from tests.onnx.quantizing import constants, decibels, outputs, task, written
from tests.quantize.sending import send, send_onnx


def _samples(*shape: int) -> Array:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.mark.slow
def test_a_keras_file_runs_in_integers_channels_last(tmp_path: Path) -> None:
    model, samples = tmp_path / "model.h5", tmp_path / "samples.npz"
    model.write_bytes(sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))
    np.savez(samples, x=_samples(100, *DOCUMENTS_INPUT), y=np.arange(100) % 10)
    sent = send(
        tmp_path,
        Framework.KERAS,
        {Part.MODEL: model, Part.DATASET: samples},
        output_format="onnx",
        weights="int4",
        activations="uint8",
    )
    found = sent.report.quantized
    assert found is not None
    assert found.arithmetic is Arithmetic.INTEGER
    assert dict(found.operators) == {"QLinearConv": 3, "QGemm": 2}
    assert found.file_bytes < found.float_file_bytes / 5
    assert sent.run(_samples(3, *DOCUMENTS_INPUT))[0].shape == (3, 10)


@pytest.mark.parametrize("opset", [9, 11, 17])
def test_a_file_of_an_old_opset_is_brought_to_one_that_has_scales_for_channels(opset: int, tmp_path: Path) -> None:
    model = between(helper.make_node("Relu", ["a"], ["z"]), opset=opset)
    sent = send_onnx(tmp_path, model, {"x": _samples(80, 3, 8, 8)}, precision="int8")
    found = sent.report.quantized
    assert found is not None
    assert dict(found.operators) == {"QLinearConv": 2}
    assert onnx.load(sent.file).opset_import[0].version >= 13
    assert found.snr_db is not None
    assert found.snr_db > 25


def test_a_weight_that_is_transposed_on_the_way_is_packed(tmp_path: Path) -> None:
    model = graph(
        [
            helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "turned"], ["h"], name="one"),
            helper.make_node("Add", ["h", "b"], ["a"]),
            helper.make_node("Relu", ["a"], ["z"]),
            helper.make_node("Gemm", ["z", "v", "c"], ["y"], name="two"),
        ],
        {"w": weights(16, 12), "b": weights(16), "v": weights(16, 5), "c": weights(5)},
        inputs={"x": ["batch", 12]},
        outputs={"y": ["batch", 5]},
    )
    sent = send_onnx(tmp_path, model, {"x": _samples(80, 12)}, weights="int8", activations="float32")
    assert sent.report.quantized is not None
    assert sent.report.quantized.bytes_by_type["int8"] == 16 * 12 + 16 * 5


def test_the_matrices_of_an_lstm_are_packed(tmp_path: Path) -> None:
    model = graph(
        [
            helper.make_node("LSTM", ["x", "w", "r", "b"], ["h"], name="cell", hidden_size=6),
            helper.make_node("Reshape", ["h", "s"], ["a"]),
            helper.make_node("Gemm", ["a", "v"], ["y"], name="out"),
        ],
        {
            "w": weights(1, 24, 5),
            "r": weights(1, 24, 6),
            "b": weights(1, 48),
            "v": weights(42, 5),
            "s": numbers(-1, 42),
        },
        inputs={"x": [7, 1, 5]},
        outputs={"y": [1, 5]},
    )
    sent = send_onnx(tmp_path, model, weights="int8", activations="float32")
    assert sent.report.quantized is not None
    assert sent.report.quantized.bytes_by_type["int8"] == 24 * 5 + 24 * 6 + 42 * 5


def test_a_quantized_file_is_not_quantized_again(tmp_path: Path) -> None:
    model = graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"], name="into"),
            helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
            helper.make_node("Gemm", ["d", "v"], ["y"]),
        ],
        {"v": weights(12, 5), "s": np.array(0.1, np.float32)},
        inputs={"x": ["batch", 12]},
        outputs={"y": ["batch", 5]},
    )
    with pytest.raises(BadUpload, match="quantized already: node into is a QuantizeLinear"):
        send_onnx(tmp_path, model, precision="int4")


def test_a_file_in_half_precision_is_not_rounded_any_further(tmp_path: Path) -> None:
    model = graph(
        [
            helper.make_node("Cast", ["x"], ["h"], to=onnx.TensorProto.FLOAT16),
            helper.make_node("MatMul", ["h", "v"], ["m"]),
            helper.make_node("Cast", ["m"], ["y"], to=onnx.TensorProto.FLOAT),
        ],
        {"v": weights(12, 5).astype(np.float16)},
        inputs={"x": ["batch", 12]},
        outputs={"y": ["batch", 5]},
    )
    with pytest.raises(BadUpload, match="half precision already: v is float16"):
        send_onnx(tmp_path, model, precision="int8")


def test_what_was_packed_is_known_as_quantized(tmp_path: Path) -> None:
    first = send_onnx(
        tmp_path, between(helper.make_node("Relu", ["a"], ["z"]), opset=17), weights="int8", activations="float32"
    )
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(BadUpload, match="quantized already"):
        send_onnx(again, onnx.load(first.file), precision="int4")


class _NoForm(nn.Module):
    """Computes what ONNX has no operator for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.special.bessel_j0(self.linear(x))
        return found


def test_an_operator_without_an_onnx_form_is_named(tmp_path: Path) -> None:
    asked = task(_NoForm().eval(), weights=Precision.INT8, size=(6,))
    with pytest.raises(UnsupportedLayer, match=r"bessel_j0[\s\S]*Nearest: format=safetensors"):
        written(asked, tmp_path)


class _Sides(nn.Module):
    """Gives what a ReLU then reads, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.first(x)
        return self.second(torch.relu(hidden)), hidden


def test_an_output_before_a_relu_keeps_what_is_below_zero(tmp_path: Path) -> None:
    torch.manual_seed(0)
    asked = task(
        _Sides().eval(),
        weights=Precision.INT8,
        biases=Precision.INT32,
        activations=Activations.UINT8,
        size=(6,),
    )
    found, model = written(asked, tmp_path)
    assert found.outputs is not None
    assert asked.held_out is not None
    with torch.no_grad():
        _, hidden = asked.model.module(*asked.held_out.inputs)
    assert decibels(hidden, found.outputs[1]) > 30
    assert found.arithmetic is Arithmetic.INTEGER
    assert any(array.dtype == np.int8 for array in constants(model).values())


def test_a_transformer_keeps_its_normalized_activations_in_floats(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 16), nn.LayerNorm(16)).eval()
    asked = task(model, weights=Precision.INT8, biases=Precision.INT32, activations=Activations.UINT8, size=(5, 8))
    found, _ = written(asked, tmp_path)
    assert found.outputs is not None
    assert decibels(outputs(asked, model), found.outputs[0]) > 30
    assert found.arithmetic is Arithmetic.INTEGER
    half = task(
        model, weights=Precision.FLOAT16, biases=Precision.FLOAT16, activations=Activations.FLOAT16, size=(5, 8)
    )
    again, _ = written(half, tmp_path)
    assert again.outputs is not None
    assert decibels(outputs(half, model), again.outputs[0]) > 50

"""What quantized files compute in a stock ONNX Runtime, against the model in floats or against numpy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from coppice.records.report import Arithmetic
from tests.formats.models import WORDS, built
from tests.onnx.builders import Array, between, graph, weights
from tests.quantize.classes import DENSE, NAMED, SINGLE
from tests.quantize.sending import Sent, loader, send_onnx, send_torch

NUMBERS = np.random.default_rng(0)
IMAGES = NUMBERS.standard_normal((40, 3, 8, 8)).astype(np.float32)
ROWS = torch.from_numpy(NUMBERS.standard_normal((40, 8)).astype(np.float32))
SERIES = torch.from_numpy(NUMBERS.standard_normal((40, 2, 9)).astype(np.float32))


def decibels(wanted: Array, found: Array) -> float:
    power, noise = np.square(wanted - wanted.mean(0)).sum(), np.square(wanted - found).sum()
    return float(10 * np.log10(power / noise)) if noise else math.inf


def convolutions() -> onnx.ModelProto:
    """The first with a bias, the second without."""
    return between(helper.make_node("Relu", ["a"], ["z"], name="relu"), opset=17)


def in_floats(folder: Path, *inputs: Array) -> list[Array]:
    """Of the model that was sent."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    named = dict(zip((entry.name for entry in session.get_inputs()), inputs, strict=True))
    found: list[Array] = session.run(None, named)
    return found


@pytest.mark.parametrize("activations", ["float32", "uint8"])
def test_a_layer_without_a_bias_keeps_its_outputs(tmp_path: Path, activations: str) -> None:
    sent = send_onnx(tmp_path, convolutions(), {"x": IMAGES}, precision="int8", activations=activations)

    assert decibels(in_floats(tmp_path, IMAGES)[0], sent.run(IMAGES)[0]) > 30


@pytest.mark.slow
def test_a_file_of_one_image_at_a_time_is_calibrated_one_by_one(tmp_path: Path) -> None:
    model = convolutions()
    for entry in (model.graph.input[0], model.graph.output[0]):
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    sent = send_onnx(tmp_path, model, {"x": IMAGES}, precision="int8")

    assert sent.report.quantized is not None
    assert sent.report.quantized.arithmetic is Arithmetic.INTEGER
    wanted = np.concatenate([in_floats(tmp_path, image[None])[0] for image in IMAGES])
    assert decibels(wanted, np.concatenate([sent.run(image[None])[0] for image in IMAGES])) > 30


def test_weights_rounded_to_the_nearest_are_what_numpy_rounds(tmp_path: Path) -> None:
    matrix, x = weights(8, 5), weights(4, 8, seed=1)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    model = graph([node], {"w": matrix}, inputs={"x": ("batch", 8)}, outputs={"y": ("batch", 5)})
    sent = send_onnx(tmp_path, model, weights="int4", rounding="nearest", layers={"*": "int4"})

    scale = np.abs(matrix).max(0) / 7
    np.testing.assert_allclose(sent.run(x)[0], x @ (np.round(matrix / scale) * scale), rtol=1e-5, atol=1e-6)
    # 40 codes of four bits, and five scales.
    told = sent.report.quantized
    assert told is not None
    assert told.layers[0].precision == "int4"
    kept = sum(len(numpy_helper.to_array(tensor).tobytes()) for tensor in onnx.load(sent.file).graph.initializer)
    assert kept < matrix.nbytes


@pytest.mark.slow
def test_every_output_of_several_keeps_its_numbers(tmp_path: Path) -> None:
    """One of them is read through a ReLU: the quantizer of ONNX Runtime would give it the range of that."""
    sent = send_torch(
        tmp_path,
        NAMED,
        "Small",
        (),
        precision="int8",
        input_size=({"name": "x", "shape": (8,)}, {"name": "z", "shape": (2, 9)}),
        dataset=loader(ROWS, SERIES, torch.arange(40) % 3),
    )

    with torch.no_grad():
        wanted = built(NAMED, "Small").eval()(ROWS, SERIES)
    scores, hidden = sent.run(ROWS.numpy(), SERIES.numpy())
    assert hidden.min() < 0
    assert decibels(wanted["hidden"].numpy(), hidden) > 20
    assert decibels(wanted["scores"].numpy(), scores) > 20


@pytest.mark.slow
def test_outputs_without_a_weight_stay_at_their_bias(tmp_path: Path) -> None:
    state = built(DENSE, "Small").state_dict()
    state["a.weight"][:4] = 0
    state["b.weight"][0] = 0
    sent = send_torch(tmp_path, DENSE, "Small", (8,), precision="int8", dataset=loader(ROWS), weights_file=state)

    first = sent.run(ROWS.numpy())[0][:, 0]
    np.testing.assert_allclose(first, float(state["b.bias"][0]), atol=0.02)


@pytest.mark.slow
def test_a_layer_of_a_single_channel_is_quantized(tmp_path: Path) -> None:
    images = torch.from_numpy(NUMBERS.standard_normal((40, 1, 8, 8)).astype(np.float32))
    sent = send_torch(
        tmp_path, SINGLE, "Small", (1, 8, 8), precision="int8", dataset=loader(images, torch.rand(40, 1, 1, 1))
    )

    with torch.no_grad():
        wanted = built(SINGLE, "Small").eval()(images).numpy()
    assert decibels(wanted, sent.run(images.numpy())[0]) > 30


@pytest.mark.slow
def test_words_stay_whole_numbers(tmp_path: Path) -> None:
    words = torch.from_numpy(NUMBERS.integers(0, 50, (40, 5)))
    sent = send_torch(
        tmp_path,
        WORDS,
        "Words",
        (),
        input_size=({"shape": (5,), "dtype": "int64", "below": 50},),
        precision="int8",
        dataset=loader(words, torch.arange(40) % 2),
    )

    with torch.no_grad():
        wanted = built(WORDS, "Words").eval()(words).numpy()
    assert decibels(wanted, sent.run(words.numpy())[0]) > 30


def test_what_is_kept_in_floats_by_its_layers_is_the_same_model(tmp_path: Path) -> None:
    sent: Sent = send_torch(tmp_path, DENSE, "Small", (8,), precision="int4", layers={"*": "float32"})

    with torch.no_grad():
        wanted = built(DENSE, "Small").eval()(ROWS).numpy()
    np.testing.assert_allclose(sent.run(ROWS.numpy())[0], wanted, rtol=1e-5, atol=1e-6)
    assert {tensor.data_type for tensor in onnx.load(sent.file).graph.initializer} == {TensorProto.FLOAT}

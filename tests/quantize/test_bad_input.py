"""What can't be quantized is refused with the reason and with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from coppice.errors import (
    BadUpload,
    CoppiceError,
    DatasetInvalid,
    PrecisionImpossible,
    Refused,
    SamplesMissing,
    StateDictMismatch,
    UnknownFormat,
    UnknownLayer,
    UnsupportedLayer,
)
from tests.formats.models import built
from tests.formats.torch_uploads import quantized
from tests.onnx.builders import graph, weights
from tests.quantize.classes import DENSE, FOURIER, SCALED
from tests.quantize.sending import loader, send_onnx, send_torch

SAMPLES = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))


def refused(folder: Path, source: str = DENSE, **asked: Any) -> CoppiceError:
    with pytest.raises(CoppiceError) as caught:
        send_torch(folder, source, "Small", (8,), **{"precision": "int8", **asked})
    return caught.value


def state(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    changed = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {**built(DENSE, "Small").state_dict(), **changed}


def test_activations_in_eight_bits_need_samples(tmp_path: Path) -> None:
    found = refused(tmp_path)

    assert isinstance(found, SamplesMissing)
    assert found.field == "dataset"
    assert "activations=float32" in found.message


@pytest.mark.parametrize("precision", ["int2", "int1"])
def test_one_and_two_bits_need_samples(tmp_path: Path, precision: str) -> None:
    found = refused(tmp_path, precision=precision)

    assert isinstance(found, SamplesMissing)
    assert "int4" in found.message


def test_samples_that_are_all_the_same_are_not_enough(tmp_path: Path) -> None:
    found = refused(tmp_path, dataset=loader(torch.ones(40, 8)))

    assert isinstance(found, (SamplesMissing, DatasetInvalid))
    assert "1 distinct" in found.message


def test_two_samples_are_not_enough(tmp_path: Path) -> None:
    found = refused(tmp_path, dataset=loader(SAMPLES[:2]))

    assert isinstance(found, SamplesMissing)
    assert "2 samples are too few" in found.message


def test_samples_without_a_number_are_refused(tmp_path: Path) -> None:
    found = refused(tmp_path, dataset=loader(torch.full((40, 8), float("nan"))))

    assert isinstance(found, DatasetInvalid)
    assert "none of the 40 samples" in found.message


def test_samples_for_which_the_model_gives_no_numbers_are_refused(tmp_path: Path) -> None:
    beyond = torch.full((16, 8), 3e38)
    beyond[::2] *= -1  # so that there is always an infinity behind the ReLU

    found = refused(tmp_path, dataset=loader(SAMPLES.abs() + 1), weights_file=state(a__weight=beyond))

    assert isinstance(found, DatasetInvalid)
    assert "no finite numbers" in found.message


def test_an_operator_that_no_file_of_the_kind_has_is_named_with_a_kind_that_needs_none(tmp_path: Path) -> None:
    found = refused(tmp_path, FOURIER, precision="int4")

    assert isinstance(found, UnsupportedLayer)
    assert "fft_rfft" in found.message
    assert "format=safetensors" in found.message


def test_a_model_without_a_product_has_nothing_to_quantize(tmp_path: Path) -> None:
    found = refused(tmp_path, SCALED, precision="int4")

    assert isinstance(found, Refused)
    assert "nothing to quantize" in found.message


def test_a_layer_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    found = refused(tmp_path, precision="int4", layers={"fc9": "int8"})

    assert isinstance(found, UnknownLayer)
    assert "'fc9'" in found.message
    assert "a, b" in found.message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", ["int8", "int4", "float16"])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, precision: str, bad: float) -> None:
    matrix = state()["a.weight"].clone()
    matrix[3, 5] = bad

    found = refused(tmp_path, precision=precision, dataset=loader(SAMPLES), weights_file=state(a__weight=matrix))

    assert isinstance(found, (Refused, BadUpload, DatasetInvalid))
    assert "a.weight" in found.message


def test_weights_beyond_the_largest_half_are_named_with_what_holds_them(tmp_path: Path) -> None:
    matrix = state()["a.weight"].clone()
    matrix[3, 5] = 1e6

    found = refused(tmp_path, precision="float16", weights_file=state(a__weight=matrix))

    assert isinstance(found, PrecisionImpossible)
    assert "a.weight holds 1e+06" in found.message
    assert "bfloat16" in found.message


def test_a_state_dict_with_quantized_tensors_is_refused(tmp_path: Path) -> None:
    found = refused(tmp_path, dataset=loader(SAMPLES), weights_file=state(a__weight=quantized(torch.zeros(16, 8))))

    assert isinstance(found, UnknownFormat)
    assert "a.weight is a quantized tensor" in found.message


def test_a_state_dict_whose_weights_are_eight_bits_is_refused(tmp_path: Path) -> None:
    whole = (state()["a.weight"] * 100).to(torch.int8)

    found = refused(tmp_path, dataset=loader(SAMPLES), weights_file=state(a__weight=whole))

    assert isinstance(found, StateDictMismatch)
    assert "a.weight is torch.int8" in found.message
    assert "in floats" in found.message


def test_an_onnx_model_with_scales_in_it_is_refused(tmp_path: Path) -> None:
    model = graph(
        [
            helper.make_node("DequantizeLinear", ["w_codes", "w_scale"], ["w"], name="unpack"),
            helper.make_node("MatMul", ["x", "w"], ["y"], name="product"),
        ],
        {"w_scale": np.array(0.01, np.float32)},
        inputs={"x": ("batch", 8)},
        outputs={"y": ("batch", 4)},
    )
    codes = np.random.default_rng(0).integers(-127, 128, (8, 4)).astype(np.int8)
    model.graph.initializer.append(numpy_helper.from_array(codes, "w_codes"))

    with pytest.raises(BadUpload, match="quantized already: node unpack is a DequantizeLinear"):
        send_onnx(tmp_path, model, precision="int4")


def test_an_onnx_model_whose_weights_were_rounded_before_is_refused(tmp_path: Path) -> None:
    """What pretends to be quantized ("fake quantization"): floats that lie on a grid of eight bits."""
    values = weights(64, 64)
    scale = np.abs(values).max(0) / 127
    rounded = (np.round(values / scale) * scale).astype(np.float32)
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        {"w": rounded},
        inputs={"x": ("batch", 64)},
        outputs={"y": ("batch", 64)},
    )

    with pytest.raises(BadUpload, match="quantized already"):
        send_onnx(tmp_path, model, precision="int4")


def test_an_onnx_model_of_whole_numbers_has_nothing_to_quantize(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "one"], ["y"], name="count")
    declared = [helper.make_tensor_value_info(name, TensorProto.INT64, ("batch", 4)) for name in ("x", "y")]
    one = numpy_helper.from_array(np.ones(4, np.int64), "one")
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(
        helper.make_graph([node], "count", declared[:1], declared[1:], [one]), opset_imports=opset, ir_version=8
    )
    onnx.checker.check_model(model)

    with pytest.raises(CoppiceError) as caught:
        send_onnx(tmp_path, model, precision="int4", input_size=({"shape": (4,), "dtype": "int64", "below": 9},))

    assert isinstance(caught.value, Refused)

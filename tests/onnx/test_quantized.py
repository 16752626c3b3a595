"""Quantized models as ONNX: what is in the file, by numpy, and what ONNX Runtime computes of it, by its profile."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from coppice.errors import SamplesMissing
from coppice.formats.onnx.quantized import write
from coppice.quant import GRIDS
from coppice.records.quantization import Activations, Precision
from coppice.records.report import Arithmetic
from tests.onnx.quantizing import constants, decibels, network, outputs, rounded, task, written

WHOLE = [Precision.INT8, Precision.INT4, Precision.INT2, Precision.INT1]


@pytest.mark.parametrize("weights", WHOLE)
def test_weights_alone_compute_what_the_rounded_module_computes(weights: Precision, tmp_path: Path) -> None:
    asked = task(network(), weights=weights)
    found, model = written(asked, tmp_path)
    assert found.outputs is not None
    torch.testing.assert_close(found.outputs[0], outputs(asked, asked.model.module), rtol=1e-4, atol=1e-4)
    assert found.arithmetic is Arithmetic.FLOAT
    assert found.float_bytes > 4 * sum(coded.codes.numel() for coded in asked.model.coded.values())
    # By hand: so many bits a weight, each layer filling its last byte.
    packed = sum(-(-coded.codes.numel() * weights.bits // 8) for coded in asked.model.coded.values())
    kinds = {array.dtype.name: 0 for array in constants(model).values()}
    for array in constants(model).values():
        kinds[array.dtype.name] += array.nbytes
    small = 0 if weights is Precision.INT8 else len(range(8 // weights.bits)) + 1  # what the shifts are by
    assert kinds["int8" if weights is Precision.INT8 else "uint8"] == packed + small
    assert dict(found.bytes_by_type) == kinds


@pytest.mark.parametrize("weights", WHOLE[1:])
def test_packed_bytes_are_the_codes_of_the_grid(weights: Precision, tmp_path: Path) -> None:
    asked = task(network(), weights=weights)
    _, model = written(asked, tmp_path)
    bits, grid = weights.bits, GRIDS[weights.bits]
    stored = constants(model)
    packed, scale = stored[f"5.weight/packed{bits}"], stored["5.weight/scale"]
    bit = np.unpackbits(packed.ravel(), bitorder="little").reshape(-1, bits)
    numbers = (bit * (1 << np.arange(bits))).sum(1)[: 64 * 33].reshape(33, 64).astype(np.int64)
    values = (numbers * grid.step - grid.largest) * scale
    expected = asked.model.module.get_submodule("5").get_parameter("weight").detach().numpy()
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def _run_with(path: Path, folder: Path) -> Counter[str]:
    """The operators that the runtime ran, by its own profile."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    session.run(None, {"input": np.zeros((1, 3, 8, 8), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    return Counter(event["args"]["op_name"] for event in events if "kernel_time" in event["name"])


@pytest.mark.parametrize("weights", WHOLE)
def test_whole_activations_are_computed_in_integers_from_any_number_of_bits(weights: Precision, tmp_path: Path) -> None:
    asked = task(network(), weights=weights, biases=Precision.INT32, activations=Activations.UINT8)
    found, model = written(asked, tmp_path)
    ran = _run_with(tmp_path / "net_quantized.onnx", tmp_path)
    assert ran["QLinearConv"] == 3
    assert ran["QGemm"] == 2
    assert ran["QLinearAdd"] == 1
    assert not ran.keys() & {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "BitShift", "Cast"}
    assert found.arithmetic is Arithmetic.INTEGER
    assert dict(found.operators) == {"QLinearConv": 3, "QGemm": 2}
    assert not found.floating
    assert found.outputs is not None
    assert decibels(outputs(asked, asked.model.module), found.outputs[0]) > 30
    held = constants(model)
    if weights is not Precision.INT8:
        assert held[f"7.weight_quantized/packed{weights.bits}"].nbytes == -(-33 * 10 * weights.bits // 8)


def test_biases_are_counted_in_steps_of_input_and_weight(tmp_path: Path) -> None:
    model = network()
    asked = task(model, weights=Precision.INT8, biases=Precision.INT32, activations=Activations.UINT8)
    _, file = written(asked, tmp_path)
    held = constants(file)
    assert held["7.bias_quantized"].dtype == np.int32
    values = held["7.bias_quantized"] * held["7.bias_quantized_scale"]
    bias = model.get_submodule("7").get_parameter("bias").detach().numpy()
    np.testing.assert_allclose(values, bias, atol=held["7.bias_quantized_scale"].max())
    scale = asked.model.coded["7.weight"].scale.numpy().ravel()
    np.testing.assert_allclose(held["7.weight_scale"], scale, rtol=1e-5)


def test_biases_can_stay_floats_beside_whole_activations(tmp_path: Path) -> None:
    found, model = written(task(network(), weights=Precision.INT8, activations=Activations.UINT8), tmp_path)
    assert found.arithmetic is Arithmetic.INTEGER
    assert not any(array.dtype == np.int32 for array in constants(model).values())


@pytest.mark.parametrize("biases", [Precision.INT8, Precision.INT4, Precision.FLOAT16])
def test_biases_of_few_bits_are_few_bytes(biases: Precision, tmp_path: Path) -> None:
    asked = task(network(), weights=Precision.INT4, biases=biases)
    found, model = written(asked, tmp_path)
    held = constants(model)
    name = {Precision.INT8: "7.bias/int8", Precision.INT4: "7.bias/packed4", Precision.FLOAT16: "7.bias/float16"}
    assert held[name[biases]].nbytes == -(-10 * biases.bits // 8)
    assert found.outputs is not None
    assert decibels(outputs(asked, asked.model.module), found.outputs[0]) > 15


def test_layers_that_are_left_stay_floats_and_are_named(tmp_path: Path) -> None:
    asked = task(
        network(), weights=Precision.INT4, biases=Precision.INT32, activations=Activations.UINT8, left=("0", "7")
    )
    found, model = written(asked, tmp_path)
    assert found.arithmetic is Arithmetic.MIXED
    assert dict(found.floating) == dict.fromkeys(("0", "7"), "its weights are kept in floats")
    np.testing.assert_array_equal(
        constants(model)["0.weight"], asked.dense.get_submodule("0").get_parameter("weight").detach().numpy()
    )


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    asked = task(network(), weights=Precision.FLOAT16, biases=Precision.FLOAT16, activations=Activations.FLOAT16)
    found, model = written(asked, tmp_path)
    assert found.outputs is not None
    assert decibels(outputs(asked, asked.dense), found.outputs[0]) > 50
    assert dict(found.bytes_by_type).keys() <= {"float16", "int64"}
    assert found.bytes_by_type["float16"] == 2 * sum(
        array.size for array in constants(model).values() if array.dtype == np.float16
    )


def test_half_precision_weights_are_singles_when_they_run(tmp_path: Path) -> None:
    asked = task(network(), weights=Precision.FLOAT16)
    found, model = written(asked, tmp_path)
    assert constants(model)["5.weight/float16"].nbytes == 2 * 64 * 33
    assert _run_with(tmp_path / "net_quantized.onnx", tmp_path).keys() & {"Cast"} == set()
    assert found.outputs is not None
    assert decibels(outputs(asked, asked.dense), found.outputs[0]) > 50


def test_whole_activations_need_samples(tmp_path: Path) -> None:
    asked = task(network(), weights=Precision.INT8, biases=Precision.INT32, activations=Activations.UINT8)
    asked = type(asked)(
        wanted=asked.wanted,
        source=asked.source,
        plan=asked.plan,
        dense=asked.dense,
        model=rounded(asked.dense, 8),
        calibration=None,
        held_out=None,
    )
    with pytest.raises(SamplesMissing, match="activations=uint8"):
        write(asked, tmp_path)

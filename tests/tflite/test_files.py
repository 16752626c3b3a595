"""`.tflite` files of few bits, as a stock LiteRT sees them in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coppice.formats.keras.source import KerasSource
from coppice.records.frameworks import Framework
from coppice.records.report import Arithmetic, Quantized, Report
from coppice.records.request import Part, Request, Task
from coppice.tasks import TASKS
from tests.keras.builders import Array
from tests.tflite import nets
from tests.tflite.runtime import Seen, needed, run

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Made:
    """A quantized file, the report of its making, and what LiteRT shows of it."""

    file: Path
    report: Report
    seen: Seen

    @property
    def told(self) -> Quantized:
        assert self.report.quantized is not None
        return self.report.quantized


def quantized(model: Path, folder: Path, *, sampled: bool = True, **asked: Any) -> Made:
    """Quantize a file as a job does, with samples or without."""
    needed()
    out = folder / "out"
    out.mkdir()
    files = {Part.MODEL: model}
    if sampled:
        files[Part.DATASET] = nets.write_samples(folder / "images.npz", nets.samples())
    named = {part: path.name for part, path in files.items()}
    request = Request.model_validate(
        {"framework": Framework.KERAS, "task": Task.QUANTIZE, "files": named, "output_format": "tflite", **asked}
    )
    report = TASKS[Task.QUANTIZE](request, files, out, lambda _: None)
    assert isinstance(report, Report)
    file = out / next(one.file for one in report.artifacts if one.name == "quantized")
    return Made(file=file, report=report, seen=run(file, nets.samples(), folder))


def in_floats(model: Path) -> Array:
    """What the model gives for the samples before anything is rounded."""
    module = KerasSource(model, model.name, seed=0).network.module
    with torch.no_grad():
        found: Array = module(torch.from_numpy(nets.samples())).numpy()
    return found


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("static")
    return quantized(nets.write_net_h5(folder / "net.h5"), folder, precision="int8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Without samples weights are rounded to the nearest, and nothing is corrected after."""
    folder = tmp_path_factory.mktemp("plain")
    model = nets.write_net_h5(folder / "net.h5")
    return quantized(model, folder, sampled=False, weights="int8", activations="dynamic")


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("dynamic")
    return quantized(nets.write_net_keras(folder / "net.keras"), folder, precision="int4")


def test_every_product_of_a_calibrated_file_is_of_whole_numbers(static: Made) -> None:
    products = [
        types for name, types in static.seen.operators if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]
    assert products == [["int8", "int8", "int8"]] * 4
    assert static.told.arithmetic is Arithmetic.INTEGER
    assert static.told.floating == {}
    assert sum(static.told.operators.values()) == 4


def test_the_file_holds_the_weights_that_rounding_by_hand_gives(plain: Made) -> None:
    kernel = nets.kernels()["hidden"]["kernel"].T
    scales = np.abs(kernel).max(axis=1) / 127
    np.testing.assert_allclose(plain.seen.scales[2], scales, rtol=1e-5)
    # At half a unit the two divisions may fall to different sides.
    assert np.abs(plain.seen.codes[2] - kernel / scales[:, None]).max() < 0.501


def test_a_batch_norm_is_in_the_scales_and_not_in_the_codes(plain: Made) -> None:
    held = nets.kernels()
    kernel = np.moveaxis(held["conv"]["kernel"], 3, 0)
    factor = held["norm"]["gamma"] / np.sqrt(held["norm"]["moving_variance"] + 0.001)
    scales = np.abs(kernel).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(plain.seen.scales[0], scales * np.abs(factor), rtol=1e-5)
    codes = kernel / scales[:, None, None, None] * np.sign(factor)[:, None, None, None]
    assert np.abs(plain.seen.codes[0] - codes).max() < 0.501


def test_another_process_gets_what_the_report_says(static: Made) -> None:
    assert static.report.quality is not None
    rows = list(static.report.quality.rows)
    dense, found = in_floats(static.file.parents[1] / "net.h5")[rows], static.seen.outputs[rows]
    assert static.told.fidelity is not None
    assert static.told.fidelity.agreement == np.mean(found.argmax(1) == dense.argmax(1))
    signal, noise = (dense - dense.mean(axis=0)).astype(np.float64), (found - dense).astype(np.float64)
    assert static.told.snr_db == pytest.approx(10 * np.log10((signal**2).sum() / (noise**2).sum()), abs=0.05)


def test_int8_takes_a_byte_for_each_weight(static: Made) -> None:
    weights = 3 * 3 * 3 * 16 + 3 * 3 * 16 + 576 * 32 + 32 * 10
    assert static.told.bytes_by_type["int8"] == weights
    assert static.told.bytes_by_type["int32"] >= 4 * (16 + 16 + 32 + 10)
    assert static.told.file_bytes == static.file.stat().st_size < static.told.float_file_bytes / 3


def test_int4_takes_half_a_byte_but_in_depthwise_and_edge_layers(dynamic: Made) -> None:
    edges = 3 * 3 * 3 * 16 + 32 * 10
    assert dynamic.told.bytes_by_type["int4"] == 576 * 32 / 2
    assert dynamic.told.bytes_by_type["int8"] == 3 * 3 * 16 + edges
    assert dynamic.told.operators["FULLY_CONNECTED (dynamic int8 x int4)"] == 1
    assert any("DEPTHWISE_CONV_2D" in note for note in dynamic.report.notes)
    assert np.abs(dynamic.seen.codes[2]).max() <= 7


def test_a_dynamic_file_computes_the_rounded_model(dynamic: Made) -> None:
    dense = in_floats(dynamic.file.parents[1] / "net.keras")
    assert np.corrcoef(dynamic.seen.outputs.ravel(), dense.ravel())[0, 1] > 0.9
    assert dynamic.told.arithmetic is Arithmetic.MIXED
    assert list(dynamic.told.floating) == ["depthwise"]
    assert dynamic.told.operators["DEPTHWISE_CONV_2D (float32 x float32)"] == 1


def test_float16_takes_two_bytes_and_computes_in_floats(tmp_path: Path) -> None:
    model = nets.write_net_h5(tmp_path / "net.h5")
    made = quantized(model, tmp_path, precision="float16")
    # The batch norm is folded: sixteen biases of the convolution stay of it.
    weights = 3 * 3 * 3 * 16 + 16 + 3 * 3 * 16 + 16 + 576 * 32 + 32 + 32 * 10 + 10
    assert made.told.bytes_by_type["float16"] == 2 * weights
    assert made.told.arithmetic is Arithmetic.FLOAT
    np.testing.assert_allclose(made.seen.outputs, in_floats(model), atol=5e-3)

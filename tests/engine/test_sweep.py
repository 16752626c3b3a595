"""A sweep of a live model: each point is the model that pruning gives, and what comes to nothing says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import coppice
from coppice.errors import NothingToPrune, ParameterInvalid, ParameterMissing
from coppice.records.quantization import Precision
from coppice.records.report import Arithmetic
from coppice.records.sweep import Axis, Merit

INPUTS = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
#: Of weights alone.
WITHOUT_SAMPLES: Any = {"activations": "float32", "format": "onnx", "example_inputs": INPUTS}


def net(width: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 4))


def parameters(width: int) -> int:
    return 6 * width + width + width * 4 + 4


def test_every_point_is_what_pruning_by_its_ratio_gives() -> None:
    model = net()
    swept = coppice.sweep(model, percents=[0.8, 0.2], example_inputs=INPUTS, criterion="random", seed=3)

    assert list(swept.results) == [0.2, 0.8]
    for ratio, result in swept.results.items():
        pruned = coppice.prune(model, percent=ratio, example_inputs=INPUTS, criterion="random", seed=3)
        assert result.plan == pruned.plan
        assert all(torch.equal(a, b) for a, b in zip(result.model.parameters(), pruned.model.parameters(), strict=True))
        assert result.report.request == pruned.report.request
    assert [point.shares[Axis.PARAMETERS] for point in swept.report.points] == [
        parameters(width) / parameters(10) for width in (10, 8, 2)
    ]
    assert (swept.report.merit, any(point.optimal for point in swept.report.points)) == (None, False)
    assert any("no samples" in note for note in swept.report.notes)


def test_a_ratio_that_comes_to_nothing_is_a_point_with_its_reason() -> None:
    swept = coppice.sweep(net(), percents=[0.04, 0.5], example_inputs=INPUTS)

    _, failed, built = swept.report.points
    assert failed.error is not None
    assert (failed.error.code, failed.cost, built.error) == ("nothing_to_prune", None, None)
    assert "0.04 of its 10 channels rounds to none" in failed.error.message
    assert list(swept.results) == [0.5]
    assert "0.04: no model" in swept.report.summary


def test_a_sweep_of_which_nothing_comes_fails_with_the_reasons() -> None:
    with pytest.raises(NothingToPrune, match=r"No point came to a model.*0\.01: .*0\.02 of its 10"):
        coppice.sweep(net(), percents=[0.01, 0.02], example_inputs=INPUTS)


def test_samples_give_the_curve_its_quality() -> None:
    model = net(32).eval()
    x = torch.rand(64, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = model(x).argmax(1)
    swept = coppice.sweep(model, percents=[0.25, 0.75], samples=(x, y))

    whole, *cut = swept.report.points
    assert swept.report.merit is Merit.ACCURACY
    assert whole.fidelity is not None
    assert whole.fidelity.accuracy == 1.0  # the labels are the model's own
    for point in cut:
        quality = swept.results[point.percent].report.quality
        assert quality is not None
        assert (point.fidelity, point.cut) == (quality.restored, quality.cut)
    smallest = cut[-1]
    assert {Axis.PARAMETERS, Axis.MACS, Axis.BYTES} <= set(smallest.front)


def test_a_wrong_list_of_ratios_is_refused_before_anything_is_done() -> None:
    with pytest.raises(ParameterInvalid, match="twice"):
        coppice.sweep(net(), percents=[0.5, 0.5], example_inputs=INPUTS)


@pytest.mark.slow
def test_every_ratio_is_cut_once_and_kept_in_every_precision(tmp_path: Path) -> None:
    model = net(32).eval()
    swept = coppice.sweep(model, percents=[0, 0.5], precisions=["float32", "int8"], out=tmp_path, **WITHOUT_SAMPLES)

    assert [(point.percent, point.precision) for point in swept.report.points] == [
        (0.0, Precision.FLOAT32),
        (0.0, Precision.INT8),
        (0.5, Precision.FLOAT32),
        (0.5, Precision.INT8),
    ]
    whole, small, cut, both = swept.report.points
    pruned = coppice.prune(model, percent=0.5, example_inputs=INPUTS)
    assert swept.results[0.5].plan == pruned.plan
    assert list(swept.results) == [0.5]
    given = {
        (ratio, precision): np.asarray(rounded(written.files["quantized"], INPUTS.numpy()))
        for (ratio, precision), written in swept.written.items()
    }
    for ratio, original in ((0.0, model), (0.5, swept.results[0.5].model)):
        with torch.no_grad():
            wanted = original(INPUTS).numpy()
        assert 0 < np.abs(given[ratio, Precision.INT8] - wanted).max() < 0.02 * np.abs(wanted).max()
    for point in (small, both):
        file = swept.written[point.percent, point.precision].files["quantized"]
        assert point.quantized is not None
        assert point.quantized.file_bytes == file.stat().st_size
        assert (point.quantized.arithmetic, point.precision) == (Arithmetic.FLOAT, Precision.INT8)
    assert both.cost == cut.cost
    assert small.cost is not None
    assert whole.cost is not None
    assert (small.cost.parameters, small.cost.bytes) == (whole.cost.parameters, whole.cost.bytes)
    assert small.shares[Axis.BYTES] < 0.5
    assert small.shares[Axis.PARAMETERS] == 1.0


def rounded(file: Path, inputs: np.ndarray) -> np.ndarray:
    """What a stock ONNX Runtime makes of a file."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    (found,) = session.run(None, {entry.name: inputs})
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.slow
def test_precisions_alone_are_a_sweep_and_nothing_is_cut(tmp_path: Path) -> None:
    swept = coppice.sweep(net(), precisions=["int8", "int4"], out=tmp_path, **WITHOUT_SAMPLES)
    assert [point.spot.label for point in swept.report.points] == ["0", "0_int8", "0_int4"]
    assert (swept.results, swept.report.criterion, swept.report.frozen) == ({}, None, ())
    assert {path.name for path in tmp_path.iterdir()} == {"0_int8", "0_int4"}


def test_a_precision_that_comes_to_nothing_leaves_the_others(tmp_path: Path) -> None:
    swept = coppice.sweep(
        net(), percents=[0.5], precisions=["float32", "bfloat16"], out=tmp_path, example_inputs=INPUTS
    )
    _, cut, refused = swept.report.points
    assert cut.error is None
    assert refused.error is not None
    assert refused.error.code == "precision_impossible"
    assert "0.5 bfloat16: no model" in swept.report.summary
    assert list(swept.results) == [0.5]


def test_files_without_a_place_are_refused_before_anything_is_done() -> None:
    with pytest.raises(ParameterMissing, match="out is missing"):
        coppice.sweep(net(), precisions=["int8"], example_inputs=INPUTS)

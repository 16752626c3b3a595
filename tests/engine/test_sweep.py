"""A sweep of a live model: each point is the model that pruning gives, and what comes to nothing says so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coppice
from coppice.errors import NothingToPrune, ParameterInvalid
from coppice.records.sweep import Axis, Merit

INPUTS = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))


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

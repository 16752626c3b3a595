"""The PyTorch model of the documents, with the numbers that they print."""

from __future__ import annotations

import pytest
import torch

import coppice
from coppice.errors import PercentOutOfRange, UnknownLayer
from tests.engine.models import Net

INPUT = torch.zeros(1, 1, 28, 28)


def test_half_with_the_dense_layers_omitted_has_596042_parameters() -> None:
    result = coppice.prune(Net(), percent=0.5, omit=["fc1", "fc2"], example_inputs=INPUT)

    shapes = {name: tuple(p.shape) for name, p in result.model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "conv1.weight": (16, 1, 3, 3),
        "conv2.weight": (32, 16, 3, 3),
        "fc1.weight": (128, 4608),
        "fc2.weight": (10, 128),
    }
    assert result.report.after.parameters == 596_042


def test_the_model_given_is_left_untouched() -> None:
    model = Net().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = coppice.prune(model, percent=0.5, example_inputs=INPUT)

    assert model.training
    assert result.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_measuring_a_model_in_training_mode_leaves_its_statistics() -> None:
    norm = torch.nn.BatchNorm2d(8)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), norm, torch.nn.Conv2d(8, 2, 3)).train()
    result = coppice.prune(model, percent=0.5, example_inputs=torch.ones(2, 1, 8, 8))

    kept = list(result.plan.kept["1.running_mean"][0])
    assert torch.equal(result.model.get_buffer("1.running_mean"), norm.get_buffer("running_mean")[kept])
    assert result.model[1].num_batches_tracked == 0


def test_the_kept_indices_are_the_filters_with_the_largest_l1_norm() -> None:
    torch.manual_seed(3)
    model = Net()
    result = coppice.prune(model, percent=0.5, example_inputs=INPUT)

    by_norm = sorted(range(32), key=lambda i: -model.conv1.weight[i].abs().sum().item())[:16]
    assert result.plan.kept["conv1.weight"][0] == tuple(sorted(by_norm))
    assert torch.equal(result.model.conv1.weight, model.conv1.weight[sorted(by_norm)])


def test_flatten_takes_every_position_of_a_channel_along() -> None:
    result = coppice.prune(Net(), percent=0.5, example_inputs=INPUT)
    channels = result.plan.kept["conv2.weight"][0]
    assert result.plan.kept["fc1.weight"][1] == tuple(c * 144 + i for c in channels for i in range(144))


@pytest.mark.parametrize("name", ["fc", "fc3", "conv1.weight"])
def test_an_omitted_name_that_is_not_there_lists_those_that_are(name: str) -> None:
    with pytest.raises(UnknownLayer, match="conv1, conv2, dropout1, dropout2, fc1, fc2"):
        coppice.prune(Net(), percent=0.5, omit=[name], example_inputs=INPUT)


@pytest.mark.parametrize(("omit", "widths"), [(["conv*"], (32, 64, 64)), (["fc1"], (16, 32, 128)), ([], (16, 32, 64))])
def test_omitted_layers_keep_their_outputs_and_the_others_shrink(omit: list[str], widths: tuple[int, ...]) -> None:
    model = coppice.prune(Net(), percent=0.5, omit=omit, example_inputs=INPUT).model
    assert (model.conv1.out_channels, model.conv2.out_channels, model.fc1.out_features) == widths


@pytest.mark.parametrize("percent", [40, -0.1, 1.0, float("nan")])
def test_percent_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(PercentOutOfRange):
        coppice.prune(Net(), percent=percent, example_inputs=INPUT)

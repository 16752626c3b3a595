"""Models whose own code can't lose some channels: the others go, and the reason names the user's line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import coppice
from coppice.errors import ForwardFailed, NothingToPrune, OutputsNotNumbers
from coppice.records.report import Check
from tests.engine.models import HardCoded, Net, cut, network, torchvision_model


def test_a_hard_coded_reshape_keeps_its_channels_and_says_where() -> None:
    result = coppice.prune(HardCoded(), percent=0.5, example_inputs=torch.zeros(2, 1, 28, 28))

    assert (result.model.conv1.out_channels, result.model.conv2.out_channels, result.model.fc1.out_features) == (
        16,
        64,
        64,
    )
    (kept,) = [group for group in result.report.groups if group.name == "conv2"]
    assert kept.asked == 32
    assert kept.removed == 0
    assert kept.reason is not None
    assert "x.view(-1, 9216)" in kept.reason
    assert "in forward" in kept.reason


class DataDependent(nn.Module):
    """Takes another path when the channel count changes, and gives other numbers without raising."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        if y.shape[1] < 8:
            y = y + 1
        return self.c(self.b(y))  # type: ignore[no-any-return]


def test_other_numbers_are_caught_and_only_the_group_at_fault_stays() -> None:
    net = network(DataDependent(), (4,))
    found, refused = cut(net, 0.5)

    assert [found.module.get_parameter(f"{name}.weight").shape[0] for name in "abc"] == [8, 4, 3]
    assert len(refused) == 1
    assert "differs from the masked original" in next(iter(refused.values()))


@pytest.mark.slow
def test_auxiliary_heads_that_only_training_runs_follow_the_trunk() -> None:
    net = network(torchvision_model("googlenet", init_weights=False)(), (3, 96, 96))
    found, _ = cut(net, 0.5)
    outputs = found.module.train()(*net.inputs)
    assert [head.shape for head in outputs if head is not None] == [(2, 1000)] * 3


class Alone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.only(x)  # type: ignore[no-any-return]


def test_nothing_to_prune_is_an_error_that_says_why() -> None:
    with pytest.raises(NothingToPrune, match="only: output of the model"):
        coppice.prune(Alone(), percent=0.5, example_inputs=torch.zeros(1, 4))


def test_zero_percent_removes_nothing_and_is_no_error() -> None:
    result = coppice.prune(Net(), percent=0, example_inputs=torch.zeros(1, 1, 28, 28))
    assert result.plan.kept == {}
    assert result.report.verification.check is Check.NONE
    assert result.report.after.parameters == result.report.before.parameters


def test_a_model_that_gives_nan_is_refused() -> None:
    model = Net()
    nn.init.constant_(model.fc2.bias, float("nan"))
    with pytest.raises(OutputsNotNumbers, match="NaN"):
        coppice.prune(model, percent=0.5, example_inputs=torch.zeros(1, 1, 28, 28))


def test_a_forward_that_raises_names_the_shape_and_the_line() -> None:
    with pytest.raises(ForwardFailed, match=r"shape \(1, 1, 30, 30\).*fc1"):
        coppice.prune(Net(), percent=0.5, example_inputs=torch.zeros(1, 1, 30, 30))

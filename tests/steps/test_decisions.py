"""Models that decide by value: what rounding turns is held, and a wrong cut still shows in what they decide by."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import coppice
from coppice.errors import VerificationFailed
from coppice.records.plan import Plan
from coppice.steps.apply import apply
from coppice.steps.verify import DECIDED, verify
from coppice.tracing import Network


class Coin(nn.Module):
    """Says which of two orders of one sum is larger: of many, each as rounding falls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 300), nn.Linear(300, 32)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        other = F.linear(hidden.flip(1), self.second.weight.flip(1), self.second.bias)
        return torch.where(self.second(hidden) > other, 1.0, -1.0)


class Finder(nn.Module):
    """Gives what scores above a threshold: nothing, of an untrained model."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 300), nn.Linear(300, 32)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.second(torch.tanh(self.first(x)))
        found: Tensor = scores[scores > 100.0]
        return found


@pytest.mark.parametrize("model", [Coin, Finder])
def test_a_right_cut_is_held_to_what_the_original_decides(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    verification = coppice.prune(model(), percent=0.5, example_inputs=(torch.randn(64, 24),)).report.verification
    assert verification.check == "exact"
    assert verification.notes == (DECIDED,)
    assert verification.max_relative_difference is not None
    assert 0 < verification.max_relative_difference < 1e-13  # of what it decides by: the outputs are equal, or none


@pytest.mark.parametrize("model", [Coin, Finder])
def test_a_wrong_cut_shows_in_what_a_model_decides_by(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = model().eval()
    network = Network(module=module, inputs=(torch.randn(64, 24),), layers=())
    kept = tuple(range(150))
    crossed = Plan(
        kept={"first.weight": {0: kept}, "first.bias": {0: kept}, "second.weight": {1: tuple(range(150, 300))}}
    )
    with pytest.raises(VerificationFailed, match="differs from the masked original"):
        verify(network, apply(module, crossed), crossed, exact=True)

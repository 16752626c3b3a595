"""The oracle's tolerance: tight, but for models that amplify rounding by themselves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import coppice
from coppice.errors import VerificationFailed
from coppice.records.plan import Plan
from coppice.steps.apply import apply
from coppice.steps.verify import verify
from coppice.tracing import Network


class Amplifying(nn.Module):
    """Adds what two orders of one sum differ by, made large: rounding and nothing else."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.first, self.second, self.gain = nn.Linear(24, 3000), nn.Linear(3000, 32), gain

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        result, other = self.second(hidden), F.linear(hidden.flip(1), self.second.weight.flip(1), self.second.bias)
        return result + self.gain * (result - other)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("gain", "allowed"), [(0.0, 1e-10), (1e7, 1e-6)])
def test_rounding_that_the_model_amplifies_is_no_fault_of_the_cut(gain: float, allowed: float) -> None:
    torch.manual_seed(0)
    result = coppice.prune(Amplifying(gain), percent=0.5, example_inputs=(torch.randn(64, 24),))
    verification = result.report.verification
    assert verification.tolerance is not None
    assert verification.max_relative_difference is not None
    assert verification.max_relative_difference <= verification.tolerance <= allowed
    assert (verification.max_relative_difference > 1e-10) == bool(gain)


def test_a_wrong_cut_of_such_a_model_is_refused() -> None:
    torch.manual_seed(0)
    module = Amplifying(1e7).eval()
    network = Network(module=module, inputs=(torch.randn(64, 24),), layers=())
    kept = tuple(range(1500))
    right = {"first.weight": {0: kept}, "first.bias": {0: kept}}
    crossed = Plan(kept={**right, "second.weight": {1: tuple(range(1500, 3000))}})
    with pytest.raises(VerificationFailed, match="differs from the masked original"):
        verify(network, apply(module, crossed), crossed, exact=True)


class Binary(nn.Module):
    """Weights and activations by their signs alone: the smallest number that is still one has a sign of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.sign(F.linear(x, torch.sign(self.first.weight)))
        return F.linear(hidden, torch.sign(self.second.weight))


def test_what_a_sign_is_taken_of_is_masked_by_zero() -> None:
    torch.manual_seed(0)
    result = coppice.prune(Binary(), percent=0.5, example_inputs=(torch.randn(4, 6),))
    assert [(group.removed, group.reason) for group in result.report.groups] == [(4, None)]

"""Every model of the zoo comes back smaller, equal to the masked original, and trainable."""

from __future__ import annotations

import pytest
import torch

from coppice.records.report import Check
from coppice.steps.allocate import share
from coppice.steps.apply import apply, masked
from tests.engine.models import QUICK, ZOO, cut, network

CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ZOO]


@pytest.mark.parametrize(
    "percent", [pytest.param(0.3, marks=pytest.mark.slow), 0.5, pytest.param(0.7, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", CASES)
def test_the_pruned_model_equals_the_masked_original(name: str, percent: float) -> None:
    build, shape = ZOO[name]
    net = network(build(), shape)
    found, refused = cut(net, percent)

    assert refused == {}
    assert found.verification.check is Check.EXACT
    # The same comparison again, by hand, in the precision that users run.
    dense, pruned = masked(net.module, found.plan), apply(net.module, found.plan)
    with torch.no_grad():
        expected, got = dense(*net.inputs), pruned(*net.inputs)
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert _parameters(pruned) < _parameters(net.module)


@pytest.mark.parametrize("name", CASES)
def test_the_pruned_model_trains(name: str) -> None:
    build, shape = ZOO[name]
    net = network(build(), shape)
    found, _ = cut(net, 0.5)
    pruned = found.module.train()
    optimizer = torch.optim.SGD(pruned.parameters(), lr=1e-4)
    outputs = pruned(*net.inputs)
    # GoogLeNet and Inception answer with their auxiliary heads too when they train.
    heads = [outputs] if isinstance(outputs, torch.Tensor) else [head for head in outputs if head is not None]
    torch.stack([head.square().mean() for head in heads]).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()
    assert all(parameter.grad is not None for parameter in pruned.parameters())


@pytest.mark.parametrize(("channels", "percent", "removed"), [(32, 0.4, 13), (5, 0.5, 2), (1, 0.9, 0), (2, 0.99, 1)])
def test_percent_means_the_nearest_whole_number_and_never_all(channels: int, percent: float, removed: int) -> None:
    assert share(channels, percent) == removed


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""Targets: what is asked is reached, hardly more goes, and what can't be reached is told."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from coppice.errors import TargetUnreachable
from coppice.records.report import Check
from coppice.steps.macs import count_macs
from tests.engine.models import HardCoded, Net, network
from tests.engine.test_random_networks import BLOCKS, Random
from tests.spread.asking import Chain, parameters, pruned, with_more
from tests.spread.test_spread import SETTINGS


@SETTINGS
@given(blocks=BLOCKS, percent=st.sampled_from([0.2, 0.5]), spread=st.sampled_from(["uniform", "global"]))
def test_the_parameters_asked_for_go_and_less_than_a_channel_per_layer_more(
    blocks: list[tuple[str, int]], percent: float, spread: str
) -> None:
    net = network(Random([("conv", 12), *blocks], "pool"), (3, 8, 8))
    whole = parameters(net.module)
    try:
        found = pruned(net, percent=percent, target="params", spread=spread)
    except TargetUnreachable as e:
        assert spread == "global"
        reach = float(re.search(r"at most ([\d.]+)%", e.message)[1]) / 100  # type: ignore[index]
        assert reach < percent
        return
    assert parameters(found.module) <= (1 - percent) * whole
    blocked = any(kind in ("grouped", "shuffle") for kind, _ in blocks)  # one of each block of four goes
    assert with_more(net, found.plan, 4 if blocked else 2) > (1 - percent) * whole  # depthwise: two for a channel
    assert found.verification.check is Check.EXACT


def test_bytes_count_buffers_and_types_too() -> None:
    net = network(Random([("conv", 12), ("conv", 8)], "pool"), (3, 8, 8))

    def size(module: nn.Module) -> int:
        return sum(entry.numel() * entry.element_size() for entry in module.state_dict().values())

    found = pruned(net, percent=0.4, target="bytes")
    assert 0.5 * size(net.module) < size(found.module) <= 0.6 * size(net.module)


class Attention(nn.Module):
    """Most of its products are of activations: the tokens are many, and the width is small."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return self.out(scores @ self.v(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("spread", ["uniform", "global"])
def test_products_of_activations_count_as_they_are_in_the_cut_model(spread: str) -> None:
    net = network(Attention(), (64, 8))
    found = pruned(net, percent=0.5, target="macs", spread=spread)
    whole, left = (count_macs(module, net.sample) for module in (net.module, found.module))
    assert left <= 0.5 * whole
    assert left >= 0.5 * whole - 64 * (2 * 64 + 3 * 8 + 4)  # one of the 16 of each of q with k, and v


def test_a_target_beyond_reach_says_what_can_be_had_and_that_can_be_had() -> None:
    net = network(Net(), (1, 28, 28))
    with pytest.raises(TargetUnreachable, match=r"at most ([\d.]+)% of the parameters .* fc2 \(output") as failed:
        pruned(net, percent=0.97, target="params", omit=["conv1"], spread="global")
    assert "conv1 (omitted by the request)" in failed.value.message
    reach = float(re.search(r"at most ([\d.]+)%", failed.value.message)[1]) / 100  # type: ignore[index]
    found = pruned(net, percent=reach, target="params", omit=["conv1"], spread="global")
    assert parameters(found.module) <= (1 - reach) * parameters(net.module)
    assert found.groups[0].removed == 0


@pytest.mark.parametrize("spread", ["uniform", "global"])
def test_what_the_oracle_refuses_the_others_make_up_for(spread: str) -> None:
    net = network(HardCoded(), (1, 28, 28))
    found = pruned(net, percent=0.3, target="params", spread=spread)
    by_name = {group.name: group for group in found.groups}
    assert by_name["conv2"].removed == 0 < by_name["conv2"].asked
    assert "x.view(-1, 9216)" in (by_name["conv2"].reason or "")
    assert parameters(found.module) <= 0.7 * parameters(net.module)


def test_a_ratio_and_a_target_hold_together() -> None:
    net = network(Chain(16, 32, 16), (3, 8, 8))
    found = pruned(net, percent=0.5, target="params", ratios={"0": 0.25})
    assert found.groups[0].removed == 4
    assert parameters(found.module) <= 0.5 * parameters(net.module)
    assert with_more(net, found.plan) > 0.5 * parameters(net.module)


@pytest.mark.slow
def test_latency_is_measured_and_the_note_says_that_it_may_differ() -> None:
    torch.manual_seed(0)
    net = network(Chain(64, 64, 64), (3, 64, 64))
    found = pruned(net, percent=0.3, target="latency")
    assert any("Times differ" in note for note in found.notes)
    assert sum(group.removed for group in found.groups) > 0

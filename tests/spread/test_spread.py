"""How a cut is spread over the groups: by score, with floors; in multiples; by ratios; with channels that stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from coppice.errors import NothingToPrune, ParameterInvalid, TargetUnreachable, UnknownLayer
from coppice.pipeline import inspect_network, prepare
from coppice.records.frameworks import Framework
from coppice.records.report import Check
from coppice.records.request import Request, Spread, Task
from coppice.steps.line import first, nearby
from coppice.steps.target import find
from tests.engine.models import Net, network
from tests.engine.test_random_networks import BLOCKS, Random
from tests.spread.asking import Chain, pruned

SETTINGS = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@SETTINGS
@given(blocks=BLOCKS, percent=st.sampled_from([0.2, 0.5, 0.6]))
def test_a_global_cut_takes_as_many_channels_and_leaves_a_fifth_of_every_group(
    blocks: list[tuple[str, int]], percent: float
) -> None:
    found = pruned(network(Random(blocks, "pool"), (3, 8, 8)), percent=percent, spread="global")

    total = sum(group.channels for group in found.groups)
    bound = max(group.channels for group in found.groups)  # of groups held together one step takes several
    assert 0 <= sum(group.removed for group in found.groups) - (percent * total - 0.5) <= bound
    assert all(group.removed <= 0.8 * group.channels for group in found.groups)
    assert found.verification.check is Check.EXACT


def test_a_global_cut_of_free_groups_takes_the_very_lowest_scores() -> None:
    net = network(Chain(8, 12, 20), (3, 8, 8))
    found = pruned(net, percent=0.3, spread="global", criterion="l1")

    rows = []  # l1 by hand, as a share of the layer's mean
    for name in ("0", "2", "4"):
        sums = net.module.get_parameter(f"{name}.weight").detach().abs().sum((1, 2, 3))
        rows += [(value, name, filter_) for filter_, value in enumerate((sums / sums.mean()).tolist())]
    lowest = {(name, filter_) for _, name, filter_ in sorted(rows)[:12]}
    gone = {
        (name, filter_)
        for _, name, filter_ in rows
        if filter_ not in found.plan.kept.get(f"{name}.weight", {}).get(0, range(99))
    }
    assert gone == lowest
    assert [group.removed for group in found.groups] == [group.asked for group in found.groups]


class TwoBranches(nn.Module):
    """A concatenation of a branch that is nearly nothing with one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.faint, self.strong, self.head = nn.Conv2d(3, 10, 1), nn.Conv2d(3, 10, 1), nn.Conv2d(20, 4, 1)
        nn.init.normal_(self.faint.weight, std=1e-6)
        with torch.no_grad():  # half of its filters are large, so that all others are below its mean
            self.faint.weight[:1] = 10.0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.faint(x), self.strong(x)], 1))  # type: ignore[no-any-return]


def test_no_branch_of_a_concatenation_is_emptied() -> None:
    found = pruned(network(TwoBranches(), (3, 4, 4)), percent=0.6, spread="global")
    assert {group.name: group.removed for group in found.groups} == {"faint": 8, "strong": 4}


def test_more_than_the_floors_leave_is_an_error_that_says_how_much_can_go() -> None:
    with pytest.raises(TargetUnreachable, match=r"at most 80.00% of the channels .* leaves 20% of every group"):
        pruned(network(Chain(10, 20), (3, 8, 8)), percent=0.9, spread="global")
    found = pruned(network(Chain(10, 20), (3, 8, 8)), percent=0.8, spread="global")
    assert [group.removed for group in found.groups] == [8, 16]
    request = Request(framework=Framework.PYTORCH, task=Task.INSPECT, percent=0.9, spread=Spread.GLOBAL)
    group, _ = inspect_network(network(Chain(10, 20), (3, 8, 8)), request).groups
    assert (group.asked, group.removed, group.reason) == (9, 8, "no more than 80% of a group goes by score")


def _width(layer: nn.Module) -> int:
    shape = layer.get_parameter("weight").shape
    return shape[1] * layer.groups if isinstance(layer, nn.ConvTranspose2d) else shape[0]


@SETTINGS
@given(blocks=BLOCKS, percent=st.sampled_from([0.3, 0.6, 0.9]), spread=st.sampled_from(["uniform", "global"]))
def test_rounded_widths_are_multiples_or_the_group_stays_whole(
    blocks: list[tuple[str, int]], percent: float, spread: str
) -> None:
    percent = min(percent, 0.5) if spread == "global" else percent
    try:
        found = pruned(network(Random(blocks, "pool"), (3, 8, 8)), percent=percent, round_to=4, spread=spread)
    except NothingToPrune:
        assert all(width < 8 for _, width in blocks)
        return
    for group in found.groups:
        if group.removed:
            widths = {_width(found.module.get_submodule(layer)) for layer in group.layers}
            assert all(width % 4 == 0 for width in widths)
        assert group.removed == group.asked or group.reason


def test_a_width_is_rounded_to_the_nearest_multiple_and_a_narrow_group_stays() -> None:
    found = pruned(network(Chain(6, 30, 40), (3, 8, 8)), percent=0.4, round_to=8)
    assert [(group.asked, group.removed) for group in found.groups] == [(2, 0), (12, 14), (16, 16)]
    narrow, rounded, exact = [group.reason for group in found.groups]
    assert narrow == "no part of its 6 channels leaves widths that are multiples of 8"
    assert rounded == "16 is the number nearest to the 18 that were to stay which leaves widths that are multiples of 8"
    assert exact is None


class Halves(nn.Module):
    """A convolution in groups, whose inputs come in as many equal parts."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 48, 1), nn.Conv2d(48, 24, 1, groups=2), nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()))  # type: ignore[no-any-return]


@pytest.mark.parametrize("multiple", [8, 16])
def test_groups_that_are_held_together_are_rounded_together(multiple: int) -> None:
    found = pruned(network(Halves(), (3, 4, 4)), percent=0.4, round_to=multiple)
    a, b = found.module.get_parameter("a.weight").shape[0], found.module.get_parameter("b.weight").shape[0]
    assert a % multiple == 0
    assert b % multiple == 0
    assert a < 48
    assert found.verification.check is Check.EXACT


def test_ratios_take_the_place_of_percent_and_are_not_drawn_on_by_a_global_cut() -> None:
    net = network(Chain(20, 20, 20), (3, 8, 8))
    for spread in ("uniform", "global"):
        found = pruned(net, percent=0.5, ratios={"2": 0.1}, spread=spread)
        first, second, third = [group.removed for group in found.groups]
        assert second == 2
        assert first + third == 20


def test_ratios_that_contradict_each_other_name_both() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x + self.branch(x).relu())  # type: ignore[no-any-return]

    net = network(Residual(), (3, 4, 4))
    with pytest.raises(ParameterInvalid, match=r"stem says 0.5 and branch says 0.25") as failed:
        pruned(net, percent=0.5, ratios={"stem": 0.5, "branch": 0.25})
    assert failed.value.field == "ratios"
    with pytest.raises(UnknownLayer, match="Did you mean 'branch'") as unknown:
        pruned(net, percent=0.5, ratios={"brunch": 0.25})
    assert unknown.value.field == "ratios"


def test_kept_channels_stay_and_others_go_in_their_place() -> None:
    net = network(Net(), (1, 28, 28))
    lowest = net.module.get_parameter("conv1.weight").detach().abs().sum((1, 2, 3)).argsort()[:3].tolist()
    for request in ({}, {"spread": "global"}, {"target": "params"}):
        found = pruned(net, percent=0.5, keep={"conv1": lowest}, **request)
        assert set(lowest) <= set(found.plan.kept["conv1.weight"][0])
        assert found.groups[0].removed == found.groups[0].asked


def test_more_kept_than_the_fraction_allows_is_told() -> None:
    found = pruned(network(Net(), (1, 28, 28)), percent=0.5, keep={"conv1": range(30)})
    conv1 = found.groups[0]
    assert (conv1.asked, conv1.removed) == (16, 2)
    assert conv1.reason == "30 of its channels are on the request's keep list"


def test_a_channel_that_a_layer_does_not_have_is_refused() -> None:
    net = network(Net(), (1, 28, 28))
    with pytest.raises(ParameterInvalid, match="conv1 has 32 output channels, numbered from 0; there is no 32"):
        pruned(net, percent=0.5, keep={"conv1": [0, 32]})
    with pytest.raises(UnknownLayer):
        pruned(net, percent=0.5, keep={"conv9": [0]})
    with pytest.raises(ParameterInvalid, match="dropout1 has no output channels"):
        pruned(net, percent=0.5, keep={"dropout1": [0]})


def test_a_group_whose_scores_compare_with_no_others_loses_the_average() -> None:
    net = network(Chain(10, 20, 10), (3, 8, 8))
    request = Request(framework=Framework.PYTORCH, percent=0.5, spread=Spread.GLOBAL)
    prepared = prepare(net, request, lambda _: None)
    scores = tuple(np.full(10, 1e9) if number == 0 else one for number, one in enumerate(prepared.scored.scores))
    alone = replace(prepared.scored, scores=scores, alone=frozenset({0}))
    found = find(replace(prepared, scored=alone), request)
    assert found.allocation.total(prepared.groups[0]) == 5
    assert sum(found.allocation.total(group) for group in prepared.groups) == 20
    every = replace(prepared, scored=replace(prepared.scored, alone=frozenset({0, 1, 2})))
    assert [find(every, request).allocation.total(group) for group in prepared.groups] == [5, 10, 5]


@settings(deadline=None, derandomize=True, database=None)
@given(at=st.integers(0, 500), guess=st.integers(0, 500))
def test_the_first_step_that_reaches_a_goal_is_found_from_any_guess(at: int, guess: int) -> None:
    assert first(500, lambda step: step >= at) == at
    assert nearby(guess, 500, lambda step: step >= at, at_most=40) == at
    assert first(500, lambda _: False) is None
    assert nearby(guess, 500, lambda _: False, at_most=40) is None


def test_a_ratio_of_layers_that_can_lose_nothing_is_refused_with_the_reason() -> None:
    net = network(Chain(8, 8, 8), (3, 8, 8))
    last = [name for name, module in net.module.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    with pytest.raises(ParameterInvalid, match="output of the model") as failed:
        pruned(net, percent=0.5, ratios={last: 0.25})
    assert failed.value.field == "ratios"
    assert [group.removed for group in pruned(net, percent=0.5, ratios={last: 0.0}).groups] == [4, 4, 4]

"""max_drop: the largest cut whose loss on the samples held out is within what the user accepts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from coppice.errors import SamplesMissing, TargetUnreachable
from coppice.pipeline import Pruned
from coppice.records.report import Distance, Fidelity, Quality
from coppice.steps.drop import largest_within, loss
from coppice.tracing import Network
from coppice.tracing.samples import Samples
from tests.engine.models import network
from tests.spread.asking import parameters, pruned


def _dense() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 5))


def _with_samples(net: Network, *, labels: bool) -> Network:
    """Random samples, labelled as the network itself classifies them: it is always right."""
    inputs = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = net.module(inputs).argmax(1)
    return replace(net, samples=Samples(inputs=(inputs,), labels=own if labels else None))


def _held_out_loss(net: Network, found: Pruned) -> float:
    """By hand: the share of the last fifth that the cut model classifies otherwise."""
    assert net.samples is not None
    _, held = net.samples.split()
    with torch.no_grad():
        same = net.module(*held.inputs).argmax(1) == found.module(*held.inputs).argmax(1)
    return 1 - float(same.double().mean())


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("spread", ["uniform", "global"])
def test_the_loss_stays_within_the_limit_and_a_larger_cut_was_tried(labels: bool, spread: str) -> None:
    net = _with_samples(network(_dense(), (12,)), labels=labels)
    found = pruned(net, percent=0.9, max_drop=0.1, spread=spread)

    assert _held_out_loss(net, found) <= 0.1
    best = [trial for trial in found.trials if trial.accepted][-1]
    assert best.parameters == parameters(found.module) == min(t.parameters for t in found.trials if t.accepted)
    refused = [trial for trial in found.trials if not trial.accepted]
    assert all(trial.drop is None or trial.drop > 0.1 for trial in refused)
    assert all(trial.share >= best.share for trial in refused)
    assert refused
    assert len(found.trials) <= 8


def test_percent_is_the_most_that_goes() -> None:
    net = _with_samples(network(_dense(), (12,)), labels=True)
    found = pruned(net, percent=0.25, max_drop=1.0)
    assert [group.removed for group in found.groups] == [4, 6]
    assert [trial.accepted for trial in found.trials] == [True]


def test_without_samples_nothing_can_be_judged() -> None:
    with pytest.raises(SamplesMissing, match="max_drop needs samples") as failed:
        pruned(network(_dense(), (12,)), percent=0.9, max_drop=0.1)
    assert failed.value.field == "max_drop"


def _quality(lost: float) -> Quality:
    whole = Fidelity(accuracy=0.9, agreement=1.0, distance=0.0)
    after = Fidelity(accuracy=0.9 - lost, agreement=0.5, distance=1.0)
    return Quality(samples=10, held_out=10, distance=Distance.JS, before=whole, cut=after, restored=after)


def test_where_even_the_smallest_cut_loses_too_much_its_loss_is_told() -> None:
    with pytest.raises(TargetUnreachable, match=r"smallest cut that was tried, 1.0% of the channels, costs 0.31"):
        largest_within(0.1, 100, lambda step: (step / 100, 1000 - step, _quality(0.3 + step / 100)))


def test_the_largest_step_within_the_limit_is_found() -> None:
    step, trials = largest_within(0.1, 100, lambda step: (step / 100, 1000 - step, _quality(0.0 if step < 43 else 0.2)))
    assert step == 42
    assert len(trials) <= 8


def test_the_loss_is_of_accuracy_then_of_explained_variance_then_of_agreement_then_of_the_outputs() -> None:
    def of(kind: Distance, before: Fidelity, after: Fidelity) -> float:
        return loss(before, after, kind)

    js, mse = Distance.JS, Distance.MSE
    both = {"agreement": 0.8, "distance": 0.3}
    assert of(js, Fidelity(accuracy=0.9, distance=0), Fidelity(accuracy=0.7, **both)) == pytest.approx(0.2)
    assert of(mse, Fidelity(error=0.1, distance=0), Fidelity(error=0.35, distance=0.3)) == pytest.approx(0.25)
    assert of(js, Fidelity(agreement=1, distance=0), Fidelity(**both)) == pytest.approx(0.2)
    assert of(mse, Fidelity(distance=0), Fidelity(distance=0.3)) == pytest.approx(0.3)
    assert of(js, Fidelity(distance=0), Fidelity(distance=0.3)) == pytest.approx(math.sqrt(0.6))
    assert of(js, Fidelity(accuracy=0.9, distance=0), Fidelity(accuracy=0.9, distance=None)) == math.inf

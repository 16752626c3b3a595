"""Scores of a whole network: what `auto` means, what is told where a criterion can't judge, and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import helper
from torch import Tensor, nn

from coppice import rules
from coppice.channels import Channels
from coppice.criteria import CRITERIA, Needs
from coppice.errors import CriterionUnsuitable, SamplesMissing, UnknownCriterion
from coppice.formats.onnx.source import open_onnx
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from coppice.steps.score import Scored, score
from coppice.tracing import Network, trace
from tests.criteria.networks import Perceptron, Small, sampled
from tests.keras.builders import input_layer, layer, opened, sequential, weights
from tests.onnx.builders import graph


def channels(net: Network) -> Channels:
    return trace(net, rules.rule_of).channels


def scored(net: Network, name: str, seed: int = 0) -> Scored:
    return score(net, channels(net), name, seed)


@pytest.fixture
def small() -> Network:
    torch.manual_seed(0)
    return sampled(Small(), (3, 9, 9), labels=torch.arange(40) % 4)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "batch_norm"])
def test_every_criterion_gives_each_channel_a_number_and_the_same_one_again(name: str, small: Network) -> None:
    first, again = scored(small, name, seed=3), scored(small, name, seed=3)
    assert [one.shape for one in first.scores] == [(6,), (8,)]
    assert all((one >= 0).all() and np.isfinite(one).all() for one in first.scores)
    for one, other in zip(first.scores, again.scores, strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.criterion == name
    assert first.notes == ()
    assert not first.alone


def test_auto_is_obs_with_samples_and_l1_without(small: Network) -> None:
    assert scored(small, "auto").criterion == "obs"
    assert scored(replace(small, samples=None), "auto").criterion == "l1"


@pytest.mark.parametrize("name", [name for name, entry in CRITERIA.items() if entry.needs is not Needs.NOTHING])
def test_a_criterion_without_what_it_needs_says_what_to_send(name: str, small: Network) -> None:
    with pytest.raises(SamplesMissing, match=rf"criterion={name} .* none were sent. Send some .* `dataset`"):
        scored(replace(small, samples=None), name)


def test_a_criterion_without_labels_says_so() -> None:
    with pytest.raises(SamplesMissing, match="criterion=taylor needs the labels"):
        scored(sampled(Small(), (3, 9, 9)), "taylor")


def test_an_unknown_criterion_is_told_which_there_are(small: Network) -> None:
    with pytest.raises(UnknownCriterion, match="batch_norm, geometric_median, l1, l2, obs, random, taylor, wanda"):
        scored(small, "l3")


def test_a_criterion_that_can_judge_nothing_is_refused(small: Network) -> None:
    with pytest.raises(CriterionUnsuitable, match="not all scaled by a batch norm"):
        scored(small, "batch_norm")


class Gated(nn.Module):
    """The first channels are read by a layer whose weights are computed; the others by one whose weights are stored."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(torch.tanh(self.a(x)), self.b.weight.tanh())
        y: Tensor = self.c(torch.tanh(x))
        return y


def test_groups_that_obs_cannot_judge_are_named_and_rated_by_l2() -> None:
    torch.manual_seed(0)
    net = sampled(Gated(), (5,))
    found, lengths = scored(net, "obs"), scored(net, "l2")
    (number,) = found.alone
    np.testing.assert_array_equal(found.scores[number], lengths.scores[number])
    (note,) = found.notes
    assert note == (
        "obs can't judge the channels of these, which are read by no layer whose weights are stored; "
        "l2 chose instead: a"
    )


def test_where_obs_could_judge_nothing_auto_is_l1() -> None:
    net = sampled(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), Computed()), (5,))
    assert scored(net, "auto").criterion == "l1"
    with pytest.raises(CriterionUnsuitable):
        scored(net, "obs")


class Computed(nn.Module):
    """A linear layer whose weights are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.tanh())


class Inference(Perceptron):
    """It runs without gradients only."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


def test_without_a_pass_backward_obs_weighs_layers_alike_and_says_so() -> None:
    (note,) = scored(sampled(Inference(), (5,)), "obs").notes
    assert note.startswith("obs weighs all layers alike, since a pass backward was not possible: no gradient leads")


class Attention(nn.Module):
    """A block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.wide, self.narrow, self.out = (
            nn.LayerNorm(8),
            nn.Linear(8, 16),
            nn.Linear(16, 8),
            nn.Linear(8, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        y: Tensor = self.out((x + self.narrow(F.gelu(self.wide(self.norm(x))))).mean(1))
        return y


def test_of_a_transformer_obs_leaves_what_is_normed_to_wanda_and_says_so() -> None:
    torch.manual_seed(0)
    net = sampled(Attention(), (4, 6))
    groups = channels(net).groups
    (values,) = (number for number, group in enumerate(groups) if ("attention.out_proj.weight", 1) in group.slots)
    (stream,) = (number for number, group in enumerate(groups) if ("into.weight", 0) in group.slots)
    (hidden,) = (number for number, group in enumerate(groups) if ("wide.weight", 0) in group.slots)
    found = scored(net, "obs")
    assert found.alone == set(range(len(groups))) - {values, hidden}
    np.testing.assert_array_equal(found.scores[stream], scored(net, "wanda").scores[stream])
    (note,) = found.notes
    assert note == (
        "obs can't judge the channels of these, which share the statistics of a norm; "
        "wanda chose instead: into, attention.out_proj, narrow"
    )


def test_a_keras_model_gets_the_scores_of_the_same_network_in_pytorch(small: Network) -> None:
    of = {name: tensor.detach().numpy() for name, tensor in small.module.named_parameters()}
    config = sequential(
        [
            input_layer((9, 9, 3)),
            layer("Conv2D", "a", filters=6, kernel_size=[3, 3], strides=[1, 1], padding="valid", activation="relu"),
            layer("Conv2D", "b", filters=8, kernel_size=[3, 3], strides=[2, 2], padding="valid", activation="relu"),
            layer("GlobalAveragePooling2D", "mean"),
            layer("Dense", "c", units=4, activation="softmax"),
        ]
    )
    arrays = {
        name: weights(name, kernel=of[f"{name}.weight"].transpose(order), bias=of[f"{name}.bias"])
        for name, order in (("a", (2, 3, 1, 0)), ("b", (2, 3, 1, 0)), ("c", (1, 0)))
    }
    assert small.samples is not None
    samples = replace(small.samples, inputs=(small.samples.inputs[0].permute(0, 2, 3, 1).contiguous(),))
    keras = replace(opened(config, arrays).network, samples=samples)
    for name in ("obs", "wanda", "taylor"):
        for one, other in zip(scored(keras, name).scores, scored(small, name).scores, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-3)


def test_an_onnx_model_gets_the_scores_of_the_same_network_in_pytorch(small: Network, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["ra"]),
        helper.make_node("Conv", ["ra", "b.weight", "b.bias"], ["b"], strides=[2, 2]),
        helper.make_node("Relu", ["b"], ["rb"]),
        helper.make_node("GlobalAveragePool", ["rb"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "c.weight", "c.bias"], ["y"], transB=1),
    ]
    of = {name: tensor.detach().numpy() for name, tensor in small.module.named_parameters()}
    model = graph(nodes, of, inputs={"x": ["batch", 3, 9, 9]}, outputs={"y": ["batch", 4]})
    onnx.save_model(model, tmp_path / "small.onnx")
    request = Request(framework=Framework.ONNX, percent=0.5, files={Part.MODEL: "small.onnx"})
    opened_model = open_onnx(request, {Part.MODEL: tmp_path / "small.onnx"}).network
    net = replace(opened_model, samples=small.samples)
    for name in ("obs", "wanda", "taylor"):
        for one, other in zip(scored(net, name).scores, scored(small, name).scores, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-3)

"""Passes backward, against automatic differentiation of the activations themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from coppice.calibration.gradients import NoGradient, fisher
from coppice.calibration.moments import Region
from coppice.calibration.portion import portion
from coppice.tracing import Network
from coppice.tracing.samples import Samples
from tests.criteria.networks import Perceptron, Small, evidence, sampled
from tests.engine.models import network


def found(net: Network) -> dict[str, Tensor]:
    """By the tensor that the outputs are made with."""
    of: Mapping[Region, Tensor] = evidence(net)[0].information.of
    return {region[0]: squares for region, squares in of.items()}


def test_fisher_weights_are_the_squared_gradients_of_a_drawn_label_at_the_outputs_of_each_layer() -> None:
    torch.manual_seed(0)
    net = sampled(Small(), (3, 9, 9))
    samples = portion(net, evidence(net)[0].samples).samples
    outputs: list[Tensor] = []
    handles = [
        net.module.get_submodule(name).register_forward_hook(lambda _, __, y: outputs.append(y)) for name in "bc"
    ]
    logits = net.module(*samples.inputs)
    for handle in handles:
        handle.remove()
    drawn = torch.multinomial(logits.double().softmax(1), 1, generator=torch.Generator().manual_seed(0)).flatten()
    loss = nn.functional.cross_entropy(logits.double(), drawn, reduction="sum")
    gradients = torch.autograd.grad(loss, outputs)
    expected = [gradients[0].square().sum((0, 2, 3)) / len(samples), gradients[1].square().sum(0) / len(samples)]

    squares = found(net)
    torch.testing.assert_close(squares["b.weight"][0].float(), expected[0], rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(squares["c.weight"][0].float(), expected[1], rtol=1e-4, atol=1e-8)
    assert not any(parameter.grad is not None for parameter in net.module.parameters())
    assert all(parameter.requires_grad for parameter in net.module.parameters())


def test_logits_probabilities_and_their_logarithms_tell_the_same() -> None:
    weights = []
    for last in (nn.Identity(), nn.Softmax(1), nn.LogSoftmax(1)):
        torch.manual_seed(0)
        weights.append(found(sampled(Perceptron(last), (5,)))["b.weight"])
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(weights[2], weights[0], rtol=1e-4, atol=1e-7)


def test_an_output_that_tells_no_classes_weighs_by_its_own_variance() -> None:
    torch.manual_seed(0)
    net = sampled(Perceptron(), (5,), count=320, labels=torch.randn(320, 3))
    with torch.no_grad():
        wide = net.module(*portion(net, evidence(net)[0].samples).samples.inputs).std()
    of_outputs = found(net)["b.weight"][0]
    assert of_outputs.mean().item() == pytest.approx(1 / wide.item() ** 2, rel=0.1)  # 768 squares of normal numbers


class Frozen(Perceptron):
    """Its forward forbids gradients."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


class Broken(Perceptron):
    """It refuses to run where gradients are kept."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("inference only")
        return super().forward(x)


@pytest.mark.parametrize(("model", "reason"), [(Frozen, "no gradient leads"), (Broken, "inference only")])
def test_where_no_pass_backward_is_possible_the_reason_is_told(model: type[nn.Module], reason: str) -> None:
    net = sampled(model(), (5,))
    with pytest.raises(NoGradient, match=reason):
        fisher(net, evidence(net)[0].portion, 0)
    assert all(parameter.requires_grad for parameter in net.module.parameters())


class Words(nn.Module):
    """Its input is indices, and it changes what it is given in place."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.a, self.b = nn.Embedding(9, 5), nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, words: Tensor) -> Tensor:
        y: Tensor = self.b(torch.tanh(self.a(self.table(words).add_(1))).mean(1))
        return y


def test_gradients_reach_the_layers_behind_an_embedding() -> None:
    words = torch.randint(0, 9, (40, 4), generator=torch.Generator().manual_seed(0))
    net = replace(network(Words(), inputs=(words[:2],)), samples=Samples(inputs=(words,)))
    assert found(net)["b.weight"].min() > 0


class Attention(nn.Module):
    """Its projection is a batch of products with one weight, shown once for each, when gradients are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y: Tensor = self.attention(x, x, x, need_weights=False)[0].mean(1)
        return y


def test_gradients_are_found_at_every_weight_of_an_attention() -> None:
    torch.manual_seed(0)
    assert {"a.weight", "attention.in_proj_weight", "attention.out_proj.weight"} == found(
        sampled(Attention(), (4, 6))
    ).keys()

"""Every criterion against its paper's formula, computed by loops or by other means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from coppice.channels import Group
from coppice.criteria import CRITERIA, Evidence
from coppice.tracing import Network
from tests.criteria.networks import Perceptron, Residual, Small, evidence, sampled
from tests.criteria.test_elimination import least_error


def made_by(found: Evidence, tensor: str) -> Group:
    return next(group for group in found.groups if (tensor, 0) in group.producers)


def parameters(net: Network) -> dict[str, NDArray[np.float64]]:
    return {name: tensor.detach().double().numpy() for name, tensor in net.module.named_parameters()}


@pytest.fixture
def residual() -> tuple[Network, Evidence]:
    torch.manual_seed(0)
    net = sampled(Residual(), (3, 6, 6))
    return net, evidence(net)[0]


def test_geometric_median_sums_the_distances_of_the_filters_of_all_layers_that_make_a_channel(
    residual: tuple[Network, Evidence],
) -> None:
    net, found = residual
    of = parameters(net)
    filters = np.concatenate([of[name].reshape(5, -1) for name in ("stem.weight", "b.weight")], axis=1)
    expected = np.array([sum(float(np.linalg.norm(one - other)) for other in filters) for one in filters])
    scores = CRITERIA["geometric_median"].rate(made_by(found, "stem.weight"), found)
    np.testing.assert_allclose(scores, expected, rtol=1e-10)


def test_batch_norm_takes_the_factors_that_scale_a_channel_and_no_others(residual: tuple[Network, Evidence]) -> None:
    net, found = residual
    of = parameters(net)
    with torch.no_grad():
        net.module.na.weight.neg_()  # type: ignore[union-attr, operator]
    for producer, factors in (("a.weight", "na.weight"), ("stem.weight", "nb.weight")):
        scores = CRITERIA["batch_norm"].rate(made_by(found, producer), found)
        np.testing.assert_allclose(scores, np.abs(of[factors]), rtol=1e-10)


def test_taylor_is_the_square_of_gradient_times_weight_summed_over_a_filter() -> None:
    torch.manual_seed(0)
    net = sampled(Small(), (3, 9, 9), labels=torch.arange(40) % 4)
    found = evidence(net)[0]
    assert len(found.portion) == 1
    samples = found.portion.samples
    assert samples.labels is not None
    scores = CRITERIA["taylor"].rate(made_by(found, "a.weight"), found)

    weight = dict(net.module.named_parameters())["a.weight"]
    loss = nn.functional.cross_entropy(net.module(*samples.inputs), samples.labels)
    (gradient,) = torch.autograd.grad(loss, weight)
    expected = (weight * gradient).sum((1, 2, 3)).square().detach().numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_wanda_multiplies_every_weight_by_the_norm_of_what_it_meets() -> None:
    torch.manual_seed(0)
    net = sampled(Perceptron(), (5,))
    found = evidence(net)[0]
    with torch.no_grad():
        hidden = torch.tanh(net.module.a(found.portion.samples.inputs[0])).numpy()  # type: ignore[operator]
    weight = parameters(net)["b.weight"]
    expected = [
        sum(abs(weight[i, j]) * np.linalg.norm(hidden[:, j]) for i in range(len(weight)))
        for j in range(weight.shape[1])
    ]
    np.testing.assert_allclose(CRITERIA["wanda"].rate(made_by(found, "a.weight"), found), expected, rtol=1e-5)


def test_the_cheapest_unit_of_obs_costs_half_the_weighted_growth_of_the_next_layers_error() -> None:
    torch.manual_seed(0)
    net = sampled(Perceptron(), (5,), count=320)
    found = evidence(net)[0]
    scores = CRITERIA["obs"].rate(made_by(found, "a.weight"), found)

    with torch.no_grad():
        hidden = torch.tanh(net.module.a(found.portion.samples.inputs[0])).double()  # type: ignore[operator]
    covariance = torch.cov(hidden.T, correction=0).numpy()
    covariance += 1e-2 * np.trace(covariance) / 6 * np.eye(6)
    (importance,) = (of[0].numpy() for key, of in found.information.of.items() if key[0] == "b.weight")
    weight = np.sqrt(importance / 2)[:, None] * parameters(net)["b.weight"]
    errors = [least_error(covariance, weight, [j for j in range(6) if j != gone]) for gone in range(6)]
    assert scores.argmin() == np.argmin(errors)
    assert scores.min() == pytest.approx(min(errors), rel=1e-4)

"""Greedy elimination against least squares solved anew: what goes costs exactly what the algebra says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from coppice.criteria import elimination
from coppice.criteria.elimination import Reading, eliminate

Floats = NDArray[np.float64]


def problem(seed: int, features: int, outputs: int) -> tuple[Floats, Floats]:
    """A covariance of features that depend on each other, and weights."""
    random = np.random.default_rng(seed)
    samples = random.normal(size=(4 * features, features)) @ random.normal(size=(features, features))
    return samples.T @ samples / len(samples), random.normal(size=(outputs, features))


def least_error(covariance: Floats, weights: Floats, kept: list[int]) -> float:
    """tr((W - W') S (W - W')') for the best W' on the features kept, by the normal equations."""
    fitted = np.zeros_like(weights)
    fitted[:, kept] = np.linalg.solve(covariance[np.ix_(kept, kept)], covariance[kept] @ weights.T).T
    apart = weights - fitted
    return float(np.trace(apart @ covariance @ apart.T))


def reading(covariance: Floats, weights: Floats, units: int, own: list[int]) -> Reading:
    return Reading(
        units=np.arange(units),
        inverse=inverted(covariance)[np.ix_(own, own)][None],
        weights=(weights.T @ weights)[np.ix_(own, own)][None],
    )


def inverted(covariance: Floats) -> Floats:
    inverse: Floats = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    return inverse


@pytest.mark.parametrize("each", [1, 3])
def test_every_unit_goes_at_the_least_growth_of_the_error_and_by_that_growth(each: int) -> None:
    units, others = 6, 4  # the layer reads features of other groups, too, which stay
    features = units * each + others
    readings = [problem(seed, features, outputs) for seed, outputs in ((0, 5), (1, 7))]
    own = list(range(units * each))
    order, growth = eliminate(units, [reading(*one, units, own) for one in readings])

    left, before = list(range(units)), 0.0
    for unit, grown in zip(order.tolist(), growth.tolist(), strict=True):
        errors = {}
        for candidate in left:
            kept = [u * each + r for u in left if u != candidate for r in range(each)]
            kept += list(range(units * each, features))
            errors[candidate] = sum(least_error(*one, kept) for one in readings)
        assert unit == min(errors, key=errors.__getitem__)
        assert grown == pytest.approx(errors[unit] - before, rel=1e-8)
        before = errors[unit]
        left.remove(unit)


def test_units_that_go_in_one_step_share_what_they_cost_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "STEP", 0.5)
    covariance, weights = problem(2, 8, 3)
    order, growth = eliminate(8, [reading(covariance, weights, 8, list(range(8)))])
    assert sorted(order.tolist()) == list(range(8))
    for gone in (4, 6, 8):  # half of those that are left go at a time
        kept = sorted(order[gone:].tolist())
        assert growth[:gone].sum() == pytest.approx(least_error(covariance, weights, kept), rel=1e-8)


def test_of_two_units_that_say_the_same_one_is_free_and_the_other_then_is_not() -> None:
    covariance, weights = problem(3, 5, 4)
    doubled = np.append(np.arange(5), 2)
    twin = covariance[np.ix_(doubled, doubled)] + 1e-9 * np.eye(6)
    order, growth = eliminate(6, [reading(twin, weights[:, doubled], 6, list(range(6)))])
    assert order[0] in (2, 5)
    assert growth[0] < 1e-6 < growth[1]


def test_a_unit_that_nothing_reads_goes_first_and_costs_nothing() -> None:
    covariance, weights = problem(4, 3, 2)
    one = Reading(units=np.array([0, 2, 3]), inverse=inverted(covariance)[None], weights=(weights.T @ weights)[None])
    order, growth = eliminate(4, [one])
    assert order[0] == 1
    assert growth[0] == 0

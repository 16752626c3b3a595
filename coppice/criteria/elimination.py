"""Greedy elimination in least squares: which units of what a layer reads are missed least, given that the rest make up.

A layer computes y = W x from features x with covariance S. Without the features of a set R, and with the best other
weights for those that stay, the expected squared error of y grows by

    tr(W_R (H_RR)^-1 W_R')        with H = S^-1

(optimal brain surgeon, Hassibi and Stork, NIPS 1992, equation 5; for whole structures Kurtic, Frantar and Alistarh,
ZipLM, NeurIPS 2023, section 3.1). What remains is again such a problem: with K = (H_RR)^-1, as there,

    W <- W - W_R K H_R:        H <- H - H_:R K H_R:

Only M = W'W is needed of the weights, and of both matrices only what lies on the units' own features: everything else
that the layer reads takes part in making up through H. Here is the algebra; where the numbers come from is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: So many of the units that are left may go in one step, chosen by what each costs alone: one by one below 200.
STEP = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one layer makes of the units, perhaps several times over: `problems` of one shape that lose them together.

    `inverse` is H and `weights` is M, both of shape (problems, features, features). The features are those of the units
    in turn, as many of each.
    """

    units: Ints  # which units it reads, ascending
    inverse: Floats
    weights: Floats

    @property
    def each(self) -> int:
        """Features per unit."""
        return int(self.inverse.shape[-1]) // self.units.size


def eliminate(size: int, readings: Sequence[Reading]) -> tuple[Ints, Floats]:
    """The `size` units in the order in which they go, and by how much the error grows with each.

    A unit that no reading has costs nothing and goes first. Of units that go in one step each gets a share of what they
    cost together.
    """
    alive = np.ones(size, dtype=bool)
    order, growth = np.zeros(0, dtype=np.int64), np.zeros(0)
    while alive.any():
        alone = sum((_alone(reading, size) for reading in readings), np.zeros(size))
        left = np.flatnonzero(alive)
        going = left[np.argsort(alone[left], kind="stable")[: max(1, int(left.size * STEP))]]
        remaining = []
        cost = 0.0
        for reading in readings:
            rest, lost = _without(reading, going)
            remaining += rest
            cost += lost
        readings = remaining
        alive[going] = False
        total = alone[going].sum()
        share = alone[going] / total if total > 0 else np.full(going.size, 1 / going.size)
        order, growth = np.concatenate([order, going]), np.concatenate([growth, cost * share])
    return order, growth


def _alone(reading: Reading, size: int) -> Floats:
    """What each unit costs if it goes next, by itself; shape (size,)."""
    costs, each = np.zeros(size), reading.each
    if each == 1:
        of_weights, of_inverse = (np.diagonal(m, axis1=1, axis2=2) for m in (reading.weights, reading.inverse))
        costs[reading.units] = (of_weights / of_inverse).sum(0)
        return costs
    shape = (-1, reading.units.size, each, reading.units.size, each)
    of_weights, of_inverse = (
        np.einsum("puaub->puab", matrix.reshape(shape)) for matrix in (reading.weights, reading.inverse)
    )
    costs[reading.units] = np.trace(np.linalg.solve(of_inverse, of_weights), axis1=2, axis2=3).sum(0)
    return costs


def _without(reading: Reading, going: Ints) -> tuple[list[Reading], float]:
    """The reading without these units, if any are left, and what they cost together."""
    gone = np.isin(reading.units, going)
    if not gone.any():
        return [reading], 0.0
    lost, kept = (np.flatnonzero(np.repeat(some, reading.each)) for some in (gone, ~gone))
    within = reading.inverse[:, lost[:, None], lost]
    of_lost = reading.weights[:, lost[:, None], lost]
    cost = float(np.trace(np.linalg.solve(within, of_lost), axis1=1, axis2=2).sum())
    if not kept.size:
        return [], cost
    across = reading.inverse[:, lost[:, None], kept]
    instead = np.linalg.solve(within, across)  # K H_R:, of what stays
    back = np.swapaxes(instead, 1, 2)
    # M of W - W_R K H_R: is M - M_:R K H_R: - (the same, transposed) + H_:R K M_RR K H_R:
    half = reading.weights[:, kept[:, None], lost] - back @ of_lost / 2
    change = half @ instead
    return [
        Reading(
            units=reading.units[~gone],
            inverse=reading.inverse[:, kept[:, None], kept] - back @ across,
            weights=reading.weights[:, kept[:, None], kept] - change - np.swapaxes(change, 1, 2),
        )
    ], cost

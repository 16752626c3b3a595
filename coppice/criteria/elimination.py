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
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: So many of the units that are left may go in one step, chosen by what each costs alone: one by one below 100.
STEP = 0.02
#: Units that went are cleared away when no more than so many of all are left.
SPARSE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one layer makes of the units, perhaps several times over: `problems` of one shape that lose them together.

    `inverse` is H and `weights` is M, both of shape (problems, features, features). The features are those of the units
    in turn, as many of each.
    """

    units: Ints  # which units it reads, ascending
    inverse: Floats
    weights: Floats


def eliminate(size: int, readings: Sequence[Reading]) -> tuple[Ints, Floats]:
    """The `size` units in the order in which they go, and by how much the error grows with each.

    A unit that no reading has costs nothing and goes first. Of units that go in one step each gets a share of what they
    cost together.
    """
    remaining = [_Remaining(reading) for reading in readings]
    left = np.arange(size)
    order, growth = list[Ints](), list[Floats]()
    while left.size:
        alone = sum((one.alone(size) for one in remaining), np.zeros(size))[left]
        first = np.argsort(alone, kind="stable")[: max(1, int(left.size * STEP))]
        together = sum(one.without(left[first]) for one in remaining)
        total = alone[first].sum()
        share = alone[first] / total if total > 0 else np.full(first.size, 1 / first.size)
        order.append(left[first])
        growth.append(together * share)
        left = np.delete(left, first)
    return np.concatenate([np.zeros(0, dtype=np.int64), *order]), np.concatenate([np.zeros(0), *growth])


class _Remaining:
    """A reading from which units go, one set after the other."""

    def __init__(self, reading: Reading) -> None:
        self._units = reading.units
        self._there = np.ones(reading.units.size, dtype=bool)
        self._inverse = torch.from_numpy(reading.inverse.copy())
        self._weights = torch.from_numpy(reading.weights.copy())
        self._each = int(reading.inverse.shape[-1]) // reading.units.size

    def alone(self, size: int) -> Floats:
        """What each unit costs if it goes next, by itself; shape (size,), 0 for those that are not read."""
        costs, each = np.zeros(size), self._each
        of_inverse, of_weights = (self._blocks(matrices) for matrices in (self._inverse, self._weights))
        if each == 1:
            found = (of_weights / of_inverse)[..., 0, 0]
        else:
            found = torch.linalg.solve(of_inverse, of_weights).diagonal(dim1=2, dim2=3).sum(2)
        costs[self._units[self._there]] = found.sum(0).numpy()
        return costs

    def _blocks(self, matrices: Tensor) -> Tensor:
        """The square on the diagonal of every unit that is there; shape (problems, units, each, each)."""
        count, each = self._units.size, self._each
        squares = matrices.reshape(-1, count, each, count, each).diagonal(dim1=1, dim2=3).movedim(3, 1)
        return squares[:, torch.from_numpy(self._there)]

    def without(self, going: Ints) -> float:
        """Take these units away, as far as they are read; what they cost together."""
        gone = np.isin(self._units, going) & self._there
        if not gone.any():
            return 0.0
        lost = torch.from_numpy(np.flatnonzero(np.repeat(gone, self._each)))
        across = self._inverse[:, lost]  # H_R:
        instead = torch.linalg.solve(across[:, :, lost], across)  # K H_R:
        of_lost = self._weights[:, lost][:, :, lost]
        cost = torch.linalg.solve(across[:, :, lost], of_lost).diagonal(dim1=1, dim2=2).sum()
        # M of W - W_R K H_R: is M - M_:R K H_R: - (the same, transposed) + H_:R K M_RR K H_R:
        half = self._weights[:, :, lost] - instead.mT @ of_lost / 2
        self._inverse.baddbmm_(across.mT, instead, alpha=-1)
        self._weights.baddbmm_(half, instead, alpha=-1)
        self._weights.baddbmm_(instead.mT, half.mT, alpha=-1)
        self._there &= ~gone
        self._clear()
        return float(cost)

    def _clear(self) -> None:
        if self._there.sum() > SPARSE * self._there.size:
            return
        kept = torch.from_numpy(np.flatnonzero(np.repeat(self._there, self._each)))
        self._inverse, self._weights = (one[:, kept][:, :, kept] for one in (self._inverse, self._weights))
        self._units = self._units[self._there]
        self._there = self._there[self._there]

"""program: the integer program of a bundle, whose cells can't lose numbers of units of their own.

The nearest numbers that satisfy the constraints: least sum of absolute differences from what was asked, and of those
the fewest removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from coppice.channels import Bundle

Ints = NDArray[np.int64]

#: Programs have some ten variables; one that takes more steps leaves its channels whole. Not seconds: the same request
#: gives the same cut on a slow machine.
NODES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What else the numbers removed, shape (cells,), have to satisfy.

    `rows @ removed <= most`, `removed <= free`, and `lengths - widths @ removed` are multiples of `multiple`, above 0.
    """

    rows: Ints
    most: Ints
    free: Ints
    widths: Ints
    lengths: Ints
    multiple: int

    def admits(self, removed: Ints) -> bool:
        """Whether the numbers satisfy all of it."""
        left = self.lengths - self.widths @ removed
        return bool(
            (self.rows @ removed <= self.most).all()
            and (removed <= self.free).all()
            and (left > 0).all()
            and (left % self.multiple == 0).all()
        )


def program(bundle: Bundle, room: Room, percent: float) -> Ints:
    """Removed per cell, shape (cells,); all zero where nothing else satisfies the constraints."""
    alike = _alike(bundle)
    merge = np.eye(alike.max() + 1, dtype=np.int64)[alike]  # shape (cells, variables)
    numbers = range(merge.shape[1])
    sizes = np.array([bundle.sizes[alike == number].min() for number in numbers])
    free = np.array([room.free[alike == number].min() for number in numbers])
    count, wanted = sizes.size, percent * sizes
    one, ratios = np.eye(count), room.multiple * np.eye(room.lengths.size)
    equations = np.unique(bundle.equations @ merge, axis=0)
    within = np.concatenate([bundle.occupancy, room.rows]) @ merge
    most = np.concatenate([bundle.lengths - 1, room.most])  # something of every block stays

    def padded(removed: NDArray[np.generic], difference: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.hstack([removed, difference, np.zeros((len(removed), len(ratios)))])

    found = milp(
        c=np.concatenate([1e-3 * merge.sum(0), merge.sum(0), np.zeros(len(ratios))]),  # removed, |removed - wanted|
        integrality=np.concatenate([np.ones(count), np.zeros(count), np.ones(len(ratios))]),
        bounds=Bounds(
            np.concatenate([np.zeros(2 * count), np.ones(len(ratios))]),
            np.concatenate([free, np.full(count + len(ratios), np.inf)]),
        ),
        constraints=[
            LinearConstraint(padded(equations, np.zeros_like(equations)), 0, 0),
            LinearConstraint(padded(within, np.zeros_like(within)), -np.inf, most),
            LinearConstraint(padded(one, -one), -np.inf, wanted),
            LinearConstraint(padded(one, one), wanted, np.inf),
            *_multiples(room, merge, ratios),
        ],
        options={"node_limit": NODES},
    )
    removed = np.zeros(count) if found.x is None else np.rint(found.x[:count])
    return removed.astype(np.int64)[alike]


def _multiples(room: Room, merge: Ints, ratios: NDArray[np.float64]) -> list[LinearConstraint]:
    """What stays of every width is a whole number of multiples: a variable for each."""
    if not room.lengths.size:
        return []
    widths = room.widths @ merge
    return [LinearConstraint(np.hstack([widths, np.zeros_like(widths), ratios]), room.lengths, room.lengths)]


def _alike(bundle: Bundle) -> Ints:
    """A number per cell; cells of one number lose the same count, as the heads of an attention do."""
    two = bundle.equations[(np.count_nonzero(bundle.equations, axis=1) == 2) & (bundle.equations.sum(axis=1) == 0)]
    ends = np.nonzero(two)[1].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(bundle.cells.size,) * 2)
    numbers: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers

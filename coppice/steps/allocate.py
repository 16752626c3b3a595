"""allocate: how many units of every cell go, so that `percent` of every group does.

Where constraints hold cells together (see `channels.shares`) the nearest numbers that satisfy them are found by an
integer program: least sum of absolute differences from `percent`, and of those the fewest removed.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from coppice.channels import Bundle, Channels, Group

Ints = NDArray[np.int64]
Axis = tuple[str, int]

#: Programs have some ten variables; one that takes more steps leaves its channels whole. Not seconds: the same request
#: gives the same cut on a slow machine.
NODES = 10_000


def share(channels: int, percent: float) -> int:
    """The nearest whole number of `percent` times the channels; a tie keeps the channel; never all of them.

    >>> share(32, 0.4), share(5, 0.5), share(1, 0.9), share(10, 0.35)
    (13, 2, 0, 3)
    """
    # Decimal of the shortest text: 0.35 * 10 is a tie for the user who wrote 0.35, whatever its binary neighbour is.
    exact = Decimal(str(percent)) * channels
    return max(0, min(math.ceil(exact - Decimal("0.5")), channels - 1))


class Allocation:
    """The number of units that go at one `percent`, per cell and per group; bundles are solved when first asked for."""

    def __init__(self, channels: Channels, percent: float) -> None:
        self._channels, self._percent = channels, percent
        self._solved: dict[int, dict[int, int]] = {}

    def of(self, group: Group) -> dict[int, int]:
        """Cell -> units removed, for the cells of a group."""
        cells = np.unique(group.cell).tolist()
        if group.bundle not in self._channels.bundles:
            return {cells[0]: share(group.size, self._percent)}
        if group.bundle not in self._solved:
            self._solved[group.bundle] = self._solve(group.bundle)
        return {cell: self._solved[group.bundle][cell] for cell in cells}

    def total(self, group: Group) -> int:
        """Units removed of a whole group."""
        return sum(self.of(group).values())

    def _solve(self, number: int) -> dict[int, int]:
        bundle = self._channels.bundles[number]
        if bundle.fineness:
            removed = share(bundle.fineness, self._percent) * bundle.sizes // bundle.fineness
        else:
            removed = _program(bundle, *self._axes(number), self._percent)
        return dict(zip(bundle.cells.tolist(), removed.tolist(), strict=True))

    def _axes(self, number: int) -> tuple[Ints, Ints]:
        """Positions that a unit of each cell has on each axis, shape (axes, cells), and the lengths of the axes."""
        bundle, rows = self._channels.bundles[number], dict[Axis, Ints]()
        for group in self._channels.groups:
            if group.bundle != number:
                continue
            cell = np.searchsorted(bundle.cells, group.cell)
            for axis, slots in group.slots.items():
                row = rows.setdefault(axis, np.zeros(bundle.cells.size, dtype=np.int64))
                row += np.bincount(cell[slots.unit], minlength=row.size) // bundle.sizes
        return np.stack(list(rows.values())), np.array([self._channels.sizes[axis] for axis in rows])


def _program(bundle: Bundle, axes: Ints, lengths: Ints, percent: float) -> Ints:
    """Removed per cell, shape (cells,); all zero where nothing else satisfies the constraints."""
    alike = _alike(bundle)
    merge = np.eye(alike.max() + 1, dtype=np.int64)[alike]  # shape (cells, variables)
    sizes = np.array([bundle.sizes[alike == number].min() for number in range(merge.shape[1])])
    count, wanted = sizes.size, percent * sizes
    one = np.eye(count)
    equations = np.unique(bundle.equations @ merge, axis=0)
    within = np.concatenate([bundle.occupancy, axes]) @ merge
    room = np.concatenate([bundle.lengths, lengths]) - 1  # something of every block and every axis stays
    found = milp(
        c=np.concatenate([1e-3 * merge.sum(0), merge.sum(0)]),  # removed, |removed - wanted|
        integrality=np.concatenate([np.ones(count), np.zeros(count)]),
        bounds=Bounds(0, np.concatenate([sizes, np.full(count, np.inf)])),
        constraints=[
            LinearConstraint(np.hstack([equations, np.zeros_like(equations)]), 0, 0),
            LinearConstraint(np.hstack([within, np.zeros_like(within)]), -np.inf, room),
            LinearConstraint(np.hstack([one, -one]), -np.inf, wanted),
            LinearConstraint(np.hstack([one, one]), wanted, np.inf),
        ],
        options={"node_limit": NODES},
    )
    removed = np.zeros(count) if found.x is None else np.rint(found.x[:count])
    return removed.astype(np.int64)[alike]


def _alike(bundle: Bundle) -> Ints:
    """A number per cell; cells of one number lose the same count, as the heads of an attention do."""
    two = bundle.equations[(np.count_nonzero(bundle.equations, axis=1) == 2) & (bundle.equations.sum(axis=1) == 0)]
    ends = np.nonzero(two)[1].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(bundle.cells.size,) * 2)
    numbers: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers

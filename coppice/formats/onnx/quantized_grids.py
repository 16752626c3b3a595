"""Which whole numbers an array is made of, found from its values alone.

Weights are rounded where their model is known as its user wrote it. What exporters do to them afterwards (another
order of the axes, a batch norm folded in) multiplies each output's weights by a number of its own at most: they are
still whole numbers of the grid times a scale, and both are found again here, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coppice.quant.grids import GRIDS, Grid

Floats = NDArray[np.float32]

#: How far from whole numbers values may be, relative to the largest of them: a few roundings of float32.
TOLERANCE = 4e-6
#: Below, an output has no weights.
NOTHING = 1e-30
#: What is looked at first of each output's weights.
_FEW = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recovered:
    """Whole numbers of a grid and scales, such that an array is `codes * scale`."""

    codes: NDArray[np.int8]
    #: Of as many axes as the codes; of size 1 along those that share it.
    scale: Floats
    bits: int

    @property
    def values(self) -> Floats:
        """What the file will have."""
        found: Floats = self.codes.astype(np.float32) * self.scale
        return found


def recovered(values: Floats, summed: Iterable[int], choices: Iterable[int]) -> Recovered | None:
    """The grid of fewest bits, of those that may be, on which all values lie; None where there is none.

    The axes `summed` share a scale.
    """
    axes = tuple(summed)
    kept = tuple(axis for axis in range(values.ndim) if axis not in axes)
    ordered = values.transpose(*kept, *axes)
    rows = ordered.reshape(math.prod(values.shape[axis] for axis in kept), -1).astype(np.float64)
    if not rows.size or not np.isfinite(rows).all():
        return None
    for bits in sorted(choices):
        grid = GRIDS[bits]
        counts = _counts(rows, grid)
        if counts is not None:
            codes, scale = _coded(rows, counts, grid)
            back = np.argsort((*kept, *axes))
            return Recovered(
                codes=np.ascontiguousarray(codes.reshape(ordered.shape).transpose(back)),
                scale=scale.reshape([1 if axis in axes else size for axis, size in enumerate(values.shape)]),
                bits=bits,
            )
    return None


def nearest(values: Floats, bits: int) -> Recovered:
    """An array rounded to the grid of so many bits, with one scale for all of it."""
    grid = GRIDS[bits]
    scale = max(float(np.abs(values).max(initial=0)) / grid.largest, NOTHING)
    codes = _on(values.astype(np.float64) / scale, grid).astype(np.int8)
    return Recovered(codes=codes, scale=np.full([1] * values.ndim, scale, np.float32), bits=bits)


def _counts(rows: NDArray[np.float64], grid: Grid) -> NDArray[np.int64] | None:
    """For each row the number of the grid that its largest value is, the smallest that is possible."""
    largest = np.abs(rows).max(1)
    few = rows[:, np.unique(np.linspace(0, rows.shape[1] - 1, _FEW).astype(int))]
    found = np.where(largest < NOTHING, grid.largest, 0)
    for count in range(1, grid.largest + 1):
        if grid.step == 2 and count % 2 == 0:  # then there are odd numbers only
            continue
        open_ = np.flatnonzero(found == 0)
        likely = open_[_lie(few[open_], largest[open_], count, grid)]
        found[likely[_lie(rows[likely], largest[likely], count, grid)]] = count
    return found if found.all() else None


def _lie(rows: NDArray[np.float64], largest: NDArray[np.float64], count: int, grid: Grid) -> NDArray[np.bool_]:
    units = rows * (count / largest[:, None])
    found: NDArray[np.bool_] = np.all(np.abs(units - _on(units, grid)) <= TOLERANCE * count, axis=1)
    return found


def _coded(rows: NDArray[np.float64], counts: NDArray[np.int64], grid: Grid) -> tuple[NDArray[np.int8], Floats]:
    """Codes, and the scales that fit them best."""
    largest = np.abs(rows).max(1)
    nothing = largest < NOTHING
    units = rows * (counts / np.where(nothing, 1, largest))[:, None]
    codes = _on(np.where(nothing[:, None], 0, units), grid)
    scale = (rows * codes).sum(1) / np.maximum((codes * codes).sum(1), 1)
    return codes.astype(np.int8), np.where(nothing, 0, scale).astype(np.float32)


def _on(units: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """The numbers of the grid nearest to values in units of the scale."""
    counted = np.round((units + grid.largest) / grid.step) * grid.step - grid.largest
    return np.clip(counted, -grid.largest, grid.largest)

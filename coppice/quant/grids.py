"""The whole numbers that so many bits stand for. They lie around zero, so that a scale is all it takes:

    bits   whole numbers
    8      -127, -126, ..., 127
    4      -7, -6, ..., 7
    2      -3, -1, 1, 3
    1      -1, 1

With 8 and 4 bits zero is one of them, and the grid is the same on both sides, as integer kernels want it. With 2 bits
that would leave one number of four unused, and with 1 bit all but one; there the grid has no zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Whole numbers from `-largest` to `largest`, `step` apart."""

    bits: int
    largest: int
    step: int

    def nearest(self, values: Tensor) -> Tensor:
        """The numbers of the grid that are nearest to values in units of the scale; floating-point."""
        counted = ((values + self.largest) / self.step).round() * self.step - self.largest
        return counted.clamp(-self.largest, self.largest)

    def numbered(self, codes: Tensor) -> Tensor:
        """The numbers of the grid, counted from 0: what is packed. Same shape, uint8."""
        return ((codes.to(torch.int16) + self.largest) // self.step).to(torch.uint8)

    def counted(self, numbers: Tensor) -> Tensor:
        """The inverse of `numbered`; int8."""
        return (numbers.to(torch.int16) * self.step - self.largest).to(torch.int8)


#: Bits -> grid.
GRIDS: Mapping[int, Grid] = {
    grid.bits: grid
    for grid in (
        Grid(bits=8, largest=127, step=1),
        Grid(bits=4, largest=7, step=1),
        Grid(bits=2, largest=3, step=2),
        Grid(bits=1, largest=1, step=2),
    )
}

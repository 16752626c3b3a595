"""A matrix in normal form, shape (groups, features, outputs), on a grid: a scale for every output of every group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coppice.quant.grids import Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coarse:
    """Codes of shape (groups, features, outputs), floating-point, and scales of shape (groups, 1, outputs)."""

    codes: Tensor
    scale: Tensor

    @property
    def values(self) -> Tensor:
        """The matrix that they stand for."""
        return self.codes * self.scale


def onto(matrix: Tensor, scale: Tensor, grid: Grid) -> Coarse:
    """Every number to the nearest of the grid, by given scales."""
    return Coarse(codes=grid.nearest(matrix / scale), scale=scale)


def positive(scale: Tensor) -> Tensor:
    """Scales that can be divided by: an output without weights has any."""
    return scale.clamp(min=torch.finfo(torch.float32).tiny)

"""Rounding to the nearest, by the scale of each output with the smallest squared error: what lies beyond is clipped.

The scales from a tenth of the largest to all of it are tried, then codes and scale are found by turns, each the best
for the other (Lloyd, Least Squares Quantization in PCM, IEEE Trans. Inf. Theory 28, 1982, method I); of one bit that is
the mean magnitude (Rastegari et al., XNOR-Net, ECCV 2016, equation 6; arXiv 1603.05279).
"""

from __future__ import annotations

import torch
from torch import Tensor

from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse, onto, positive

#: Scales that are tried, as parts of the one that clips nothing.
PARTS = tuple(part / 20 for part in range(2, 21))
#: Turns after that; the error falls with each, and hardly after the third.
TURNS = 4


def clipped(matrix: Tensor, grid: Grid) -> Coarse:
    """A matrix of shape (groups, features, outputs) on the grid."""
    whole = positive(matrix.abs().amax(1, keepdim=True) / grid.largest)
    best, least = onto(matrix, whole, grid), torch.full_like(whole, torch.inf)
    for part in PARTS:
        best, least = _better(best, least, onto(matrix, whole * part, grid), matrix)
    for _ in range(TURNS):
        power = best.codes.square().sum(1, keepdim=True)
        fitted = (best.codes * matrix).sum(1, keepdim=True) / power.clamp(min=1)
        best, least = _better(best, least, onto(matrix, positive(fitted.where(fitted > 0, best.scale)), grid), matrix)
    return best


def _better(best: Coarse, least: Tensor, other: Coarse, matrix: Tensor) -> tuple[Coarse, Tensor]:
    """The better of two for each output, and its squared error."""
    error = (other.values - matrix).square().sum(1, keepdim=True)
    wins = error < least
    chosen = Coarse(codes=torch.where(wins, other.codes, best.codes), scale=torch.where(wins, other.scale, best.scale))
    return chosen, torch.where(wins, error, least)

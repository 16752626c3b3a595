"""Codes and scales that change least of what a product gives for the inputs that it meets.

With `e` the error of one output's weights and H the Gram matrix of the inputs, what its outputs miss is e'He. GPTQ
finds codes by the scales with the smallest error of the weights; then codes and scales are found by turns, each the
best for the other: the scale in closed form, (q'Hw) / (q'Hq), the codes by coordinate descent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from coppice.quant.clipped import clipped
from coppice.quant.descent import descended
from coppice.quant.gptq import Triangle, gptq
from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse, positive

#: Turns of scales and codes after GPTQ; more change little.
TURNS = 2


def calibrated(matrix: Tensor, gram: Tensor, triangle: Triangle, grid: Grid, scale: Tensor | None = None) -> Coarse:
    """A matrix of shape (groups, features, outputs) on the grid; `gram`: (groups, features, features), and factored.

    By the scales that are given, if some are.
    """
    best = gptq(matrix, clipped(matrix, grid).scale if scale is None else scale, triangle, grid)
    least = missed(best, matrix, gram)
    for _ in range(TURNS):
        found = descended(best if scale is not None else _scaled(best, matrix, gram), matrix, gram, grid, 1)
        error = missed(found, matrix, gram)
        wins = error < least
        best = Coarse(
            codes=torch.where(wins, found.codes, best.codes), scale=torch.where(wins, found.scale, best.scale)
        )
        least = torch.where(wins, error, least)
    return best


def missed(coarse: Coarse, matrix: Tensor, gram: Tensor) -> Tensor:
    """What each output misses, squared and summed over the inputs: shape (groups, 1, outputs)."""
    error = coarse.values - matrix
    return (error * (gram @ error)).sum(1, keepdim=True)


def _scaled(coarse: Coarse, matrix: Tensor, gram: Tensor) -> Coarse:
    """By the scales that are best for the codes."""
    met = gram @ coarse.codes
    power = (coarse.codes * met).sum(1, keepdim=True)
    scale = (met * matrix).sum(1, keepdim=True) / positive(power)
    return Coarse(codes=coarse.codes, scale=positive(scale.where((power > 0) & (scale > 0), coarse.scale)))

"""Codes and scales that change least of what a product gives for the inputs that it meets: GPTQ by several scales.

With `e` the error of one output's weights and H the Gram matrix of the inputs, what its outputs miss is e'He. Outputs
don't depend on each other, so each keeps the scale by which it misses least. Then codes and scale are found by turns,
each the best for the other: the codes by coordinate descent, the scale in closed form, (q'Hw) / (q'Hq).
"""

from __future__ import annotations

import torch
from torch import Tensor

from coppice.quant.clipped import clipped
from coppice.quant.descent import descended
from coppice.quant.gptq import factored, gptq
from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse, positive

#: Scales that are tried, as parts of that with the smallest squared error of the weights.
PARTS = (1.0, 0.8, 0.9, 1.15, 1.3)
#: Turns of codes and scale after that.
TURNS = 3


def calibrated(matrix: Tensor, gram: Tensor, grid: Grid) -> Coarse:
    """A matrix of shape (groups, features, outputs) on the grid; `gram`: (groups, features, features), definite."""
    triangle, gram = factored(gram), gram.to(matrix.dtype)
    start = clipped(matrix, grid).scale
    best, least = gptq(matrix, start, triangle, grid), torch.full_like(start, torch.inf)
    for part in PARTS:
        best, least = _better(best, least, gptq(matrix, start * part, triangle, grid), matrix, gram)
    for _ in range(TURNS):
        found = descended(_scaled(best, matrix, gram), matrix, gram, grid, 1)
        best, least = _better(best, least, found, matrix, gram)
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


def _better(best: Coarse, least: Tensor, other: Coarse, matrix: Tensor, gram: Tensor) -> tuple[Coarse, Tensor]:
    error = missed(other, matrix, gram)
    wins = error < least
    chosen = Coarse(codes=torch.where(wins, other.codes, best.codes), scale=torch.where(wins, other.scale, best.scale))
    return chosen, torch.where(wins, error, least)

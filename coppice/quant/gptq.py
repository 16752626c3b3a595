"""GPTQ: rounding one feature after the other, those that are left making up for what was lost (Frantar et al., GPTQ:
Accurate Post-Training Quantization for Generative Pre-trained Transformers, ICLR 2023, algorithm 1; arXiv 2210.17323).

It is written as what it is, Babai's nearest plane (Chen et al., The Geometry of LLM Quantization: GPTQ as Babai's
Nearest Plane Algorithm, 2025, theorem 4; arXiv 2507.18553): with the inputs' Gram matrix H = T'T, T upper triangular,
and the features taken from the last to the first, feature `i` is rounded at

    w_i + (sum over j > i of T_ij (w_j - v_j)) / T_ii            w the matrix, v what was rounded

which takes one Cholesky decomposition and no inverse. Features that carry more go first, as in the paper's "act-order".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse

#: Features that are rounded before the others hear of it; any number gives the same.
BLOCK = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Triangle:
    """A Gram matrix, factored: the order of its features, shape (groups, features), and the factor in this order."""

    order: Tensor
    upper: Tensor

    def solved(self, right: Tensor) -> Tensor:
        """The x of gram @ x = right, shape (groups, features, any)."""
        order = self.order[:, :, None].expand_as(right)
        found = torch.cholesky_solve(right.gather(1, order), self.upper, upper=True)
        return torch.empty_like(found).scatter_(1, order, found)


def factored(gram: Tensor) -> Triangle:
    """Of shape (groups, features, features), positive definite."""
    order = gram.diagonal(dim1=1, dim2=2).argsort(1)
    rows = gram.gather(1, order[:, :, None].expand_as(gram))
    ordered = rows.gather(2, order[:, None, :].expand_as(gram))
    return Triangle(order=order, upper=torch.linalg.cholesky(ordered, upper=True))


def gptq(matrix: Tensor, scale: Tensor, triangle: Triangle, grid: Grid) -> Coarse:
    """A matrix of shape (groups, features, outputs) on the grid, by given scales."""
    order = triangle.order[:, :, None].expand_as(matrix)
    wanted, upper = (matrix / scale).gather(1, order), triangle.upper.to(matrix.dtype)
    codes, lost = torch.empty_like(wanted), torch.zeros_like(wanted)
    features = matrix.shape[1]
    for start in range((features - 1) // BLOCK * BLOCK, -1, -BLOCK):
        end = min(start + BLOCK, features)
        owed = upper[:, start:end, end:] @ lost[:, end:]
        for place in range(end - 1, start - 1, -1):
            within = upper[:, place : place + 1, place + 1 : end] @ lost[:, place + 1 : end]
            moved = (owed[:, place - start] + within[:, 0]) / upper[:, place, place, None]
            codes[:, place] = grid.nearest(wanted[:, place] + moved)
            lost[:, place] = wanted[:, place] - codes[:, place]
    return Coarse(codes=torch.empty_like(codes).scatter_(1, order, codes), scale=scale)

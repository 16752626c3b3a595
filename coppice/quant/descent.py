"""Coordinate descent on codes: each in its turn to the best that it can be, given all others (Behdin et al., QuantEase:
Optimization-based Quantization for Language Models, 2023, algorithm 1; arXiv 2309.01885).

It starts from codes that another method found and never makes their error larger.
"""

from __future__ import annotations

import torch
from torch import Tensor

from coppice.quant.gptq import BLOCK
from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse


def descended(start: Coarse, matrix: Tensor, gram: Tensor, grid: Grid, turns: int) -> Coarse:
    """Codes with a smaller error in the norm of `gram`, shape (groups, features, features), by the same scales."""
    wanted, codes = matrix / start.scale, start.codes.clone()
    gram = gram.to(codes.dtype)
    diagonal = gram.diagonal(dim1=1, dim2=2)[:, :, None].clamp(min=torch.finfo(torch.float32).tiny)
    features = matrix.shape[1]
    for _ in range(turns):
        slope = gram @ (codes - wanted)
        for first in range(0, features, BLOCK):
            block = slice(first, min(first + BLOCK, features))
            local, before = slope[:, block].clone(), codes[:, block].clone()
            square = gram[:, block, block]
            for place in range(local.shape[1]):
                at = first + place
                best = grid.nearest(codes[:, at] - local[:, place] / diagonal[:, at])
                local += square[:, :, place, None] * (best - codes[:, at])[:, None]
                codes[:, at] = best
            slope += gram[:, :, block] @ (codes[:, block] - before)
    return Coarse(codes=codes, scale=start.scale)

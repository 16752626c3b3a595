"""Rounding to the nearest, by the scale that maps the largest number of an output to the largest of the grid.

(Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018,
section 3, with the symmetric ranges that Krishnamoorthi 2018, section 2.2, gives to weights; arXiv 1712.05877 and
1806.08342.)
"""

from __future__ import annotations

from torch import Tensor

from coppice.quant.grids import Grid
from coppice.quant.matrices import Coarse, onto, positive


def nearest(matrix: Tensor, grid: Grid) -> Coarse:
    """A matrix of shape (groups, features, outputs) on the grid."""
    return onto(matrix, positive(matrix.abs().amax(1, keepdim=True) / grid.largest), grid)

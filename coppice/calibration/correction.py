"""Mean and deviation of what a rounded product gives, brought back to those of the product in floats, by output.

(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, for the
mean; arXiv 1906.04721. Finkelstein et al., Fighting Quantization Bias With Bias, 2019; arXiv 1906.03193.) The deviation
goes into the scales of the output, the mean into its bias or where else it finds a place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coppice.calibration.normal_equations import Equations

#: A scale changes by no more than this factor, nor by less than its inverse: an output that hardly moves says little.
MOST = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correction:
    """What scales are multiplied by, and what is added to outputs; shapes (groups, 1, outputs)."""

    factor: Tensor
    shift: Tensor


def correction(coarse: Tensor, matrix: Tensor, found: Equations, target: Tensor) -> Correction:
    """For a matrix that was rounded; `found` are the equations of its inputs, `target` (groups, rows, outputs)."""
    power = (coarse * (found.gram.float() @ coarse)).sum(1, keepdim=True) / found.rows
    # Where nothing takes a shift, the mean must not go astray either: then it is the power about zero that is kept.
    centred = target - target.mean(1, keepdim=True) if found.centred else target
    wanted = centred.square().mean(1, keepdim=True)
    ratio = (wanted / power).sqrt()
    factor = ratio.where(ratio.isfinite() & (ratio > 0), torch.ones(())).clamp(1 / MOST, MOST)
    shift = found.missing.float() + found.around.float() @ (matrix - coarse * factor)
    return Correction(factor=factor, shift=shift)

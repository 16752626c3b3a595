"""Mean and deviation of what a rounded product gives, brought back to those of the product in floats, by output.

(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, for the
mean; arXiv 1906.04721. Finkelstein et al., Fighting Quantization Bias With Bias, 2019; arXiv 1906.03193.) The deviation
goes into the scales of the output, the mean into its bias or where else it finds a place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

#: A scale changes by no more than this factor, nor by less than its inverse: an output that hardly moves says little.
MOST = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correction:
    """What scales are multiplied by, and what is added to outputs; shapes (groups, 1, outputs)."""

    factor: Tensor
    shift: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a matrix gives for the rows that it meets: means, and mean squares about zero; (groups, 1, outputs)."""

    mean: Tensor
    power: Tensor


def given(rows: Iterable[Tensor], matrix: Tensor) -> Given:
    """For rows of shape (groups, some, features), summed up in float64."""
    total = square = torch.zeros(1, dtype=torch.float64)
    count = 0
    for x in rows:
        outputs = (x @ matrix).double()
        total = total + outputs.sum(1, keepdim=True)
        square = square + outputs.square().sum(1, keepdim=True)
        count += x.shape[1]
    return Given(mean=total / count, power=square / count)


def correction(coarse: Given, floats: Given, result: Tensor, target: Tensor, *, centred: bool) -> Correction:
    """For what a rounded matrix gives, and what it gave before it was rounded.

    `result`: the product's outputs then, with all that is added to them; `target`: those of the model in floats; both
    (groups, rows, outputs). Where nothing takes a shift (not `centred`), the mean must not go astray either: then it is
    the power about zero that is kept.
    """
    wanted, power = target.double(), coarse.power
    mean = wanted.mean(1, keepdim=True)
    if centred:
        wanted, power = wanted - mean, power - coarse.mean.square()
    ratio = (wanted.square().mean(1, keepdim=True) / power).sqrt()
    factor = ratio.where(ratio.isfinite() & (ratio > 0), torch.ones_like(ratio)).clamp(1 / MOST, MOST)
    added = result.double().mean(1, keepdim=True) - floats.mean
    return Correction(factor=factor.float(), shift=(mean - added - factor * coarse.mean).float())

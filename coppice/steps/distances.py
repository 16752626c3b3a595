"""distances: how far outputs are from others, as probabilities or as numbers, in float64 and a part at a time.

Where the original gives something that is no number (a mask's minus infinity), the other has to give the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from coppice.calibration.probabilities import Probabilities, parts


def divergence(want: Tensor, got: Tensor, told: Probabilities) -> float:
    """The mean of (sum(p * log(p / m)) + sum(q * log(q / m))) / 2 with m = (p + q) / 2, in nats: Jensen and Shannon's.

    0 where they are the same, ln 2 where no class is possible in both.
    """
    total, count = 0.0, 0
    for original, other in _pairs(want, got):
        p, q = told.of(original), told.of(other)
        known = ~p.isnan().any(-1)
        middle = torch.where(p == q, p, torch.logaddexp(p, q) - math.log(2))
        each = (_relative(p, middle) + _relative(q, middle)) / 2
        total += each[known].clamp_min(0).sum().item()  # rounding may make it a little less
        count += int(known.sum())
    return total / count if count else 0.0


def _relative(p: Tensor, other: Tensor) -> Tensor:
    """The sum of p * log(p / other), of logarithms; what is impossible adds nothing."""
    return torch.where(p == -math.inf, 0.0, p.exp() * (p - other)).sum(-1)


def squared(want: Tensor, got: Tensor) -> float:
    """The mean of the squared differences over the variance of what is wanted.

    Where that is always the same, over its square; where it is always 0, the mean of the squares.
    """
    total, count = 0.0, 0
    for original, other in _pairs(want, got):
        known = original.isfinite()
        if not torch.equal(original[~known].nan_to_num(), other[~known].nan_to_num()):
            return math.inf
        total += (original[known].double() - other[known].double()).square().sum().item()
        count += int(known.sum())
    return total / count / _spread(want) if count else 0.0


def _spread(want: Tensor) -> float:
    known = [part[part.isfinite()].double() for part in parts(want)]
    count = sum(part.numel() for part in known)
    mean = sum(part.sum().item() for part in known) / count
    variance = sum((part - mean).square().sum().item() for part in known) / count
    return variance or mean * mean or 1.0


def _pairs(want: Tensor, got: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(parts(want), parts(got), strict=True)

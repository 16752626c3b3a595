"""How an output tells probabilities of classes: as they are, as their logarithms, or as logits.

The first two are recognised by their sums; a softmax is meant where the caller knows that an output names a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

#: Numbers that are looked at a time.
CHUNK = 1 << 20
#: How far probabilities may sum up to something else than 1.
SUM_TOLERANCE = 1e-3
#: A probability that was rounded to 0 counts as the smallest that float32 has.
LEAST = torch.finfo(torch.float32).tiny


def _of_probabilities(part: Tensor) -> Tensor:
    return torch.where(part < 0, torch.nan, part.clamp_min(LEAST).log())


def _of_logarithms(part: Tensor) -> Tensor:
    return part


def _of_logits(part: Tensor) -> Tensor:
    return part.log_softmax(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probabilities:
    """How an output tells probabilities of classes: along which axis, and what makes logarithms of its numbers."""

    axis: int
    logarithms: Callable[[Tensor], Tensor]

    def of(self, part: Tensor) -> Tensor:
        """Their logarithms, a row for each set of classes."""
        rows = part.double().movedim(self.axis, -1)
        return self.logarithms(rows).flatten(0, -2)


def probabilities(output: Tensor) -> Probabilities | None:
    """How an output tells probabilities, by the sums of its rows; None if it does not."""
    for axis in (-1, 1)[: max(0, output.dim() - 1)]:
        for logarithms in (_of_probabilities, _of_logarithms):
            found = Probabilities(axis=axis, logarithms=logarithms)
            if output.numel() and output.shape[axis] > 1 and all(_sums_up(found.of(part)) for part in parts(output)):
                return found
    return None


def logits(output: Tensor) -> Probabilities:
    """Of an output whose softmax is meant: one number for every class of a sample."""
    return Probabilities(axis=max(range(1, output.dim()), key=lambda axis: output.shape[axis]), logarithms=_of_logits)


def _sums_up(logarithms: Tensor) -> bool:
    return bool(((logarithms.logsumexp(-1).exp() - 1).abs() <= SUM_TOLERANCE).all())


def parts(output: Tensor) -> Iterator[Tensor]:
    """The output, some rows at a time: what is made of them in float64 stays small."""
    rows = max(1, CHUNK * len(output) // max(1, output.numel()))
    for start in range(0, len(output), rows):
        yield output[start : start + rows]

"""Samples of the user's data: what the repair, the criteria that look at activations, and the measurements run on.

How samples are read from files and refused is with each format; here is what becomes of them, in memory, for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

#: The part of the samples on which nothing is fitted, so that what is measured there is true of new ones.
HELD_OUT = 0.2
#: More are of no use to a fit of channels (its gain is flat from some 256 on); the others are held out, too.
MOST_FITTED = 512
#: With fewer there is nothing to fit and to hold out.
FEWEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What the model takes, a row per sample in every input, and the labels where there are some.

    An input without dimensions is a number for all samples. Labels are class numbers (int64, shape (samples,)) or
    targets of a regression (floating-point, rows as the model's first output).
    """

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor | None = None
    #: The one batch that the model takes, where it takes no other: graphs are exported for one.
    only: int | None = None
    #: The number of each in what was sent, from 0, where that is known: so that anybody can find them again.
    rows: torch.Tensor | None = None

    def __len__(self) -> int:
        return next((entry.shape[0] for entry in self.inputs if entry.dim()), 0)

    @property
    def classified(self) -> bool:
        """Whether the labels are numbers of classes."""
        return self.labels is not None and not self.labels.is_floating_point()

    def __getitem__(self, rows: slice | torch.Tensor) -> Samples:
        return replace(
            self,
            inputs=tuple(entry[rows] if entry.dim() else entry for entry in self.inputs),
            labels=None if self.labels is None else self.labels[rows],
            rows=None if self.rows is None else self.rows[rows],
        )

    def split(self) -> tuple[Samples, Samples]:
        """Those to fit on, and those held out: the last fifth, and whatever is beyond the most that a fit can use."""
        fitted = min(MOST_FITTED, round(len(self) * (1 - HELD_OUT)))
        fitted -= fitted % (self.only or 1)
        return self[slice(0, fitted)], self[slice(fitted, None)]

    def batches(self, size: int) -> Iterator[Samples]:
        """In order, `size` at a time, or as many as the model takes; then those that fill no batch are left out."""
        size, end = (size, len(self)) if self.only is None else (self.only, len(self) - len(self) % self.only)
        for start in range(0, end, size):
            yield self[slice(start, start + size)]

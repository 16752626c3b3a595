"""What least squares needs to know of many rows: products of inputs with each other and with what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

#: The ridge, as a part of the mean diagonal of X'X. From 1e-4 to 0.1 it makes little difference.
ALPHA = 0.02
#: Below this many rows for each feature the ridge grows as they get fewer.
ENOUGH_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equations:
    """Of rows X, shape (groups, rows, features), and what is missing of the outputs, R (groups, rows, outputs).

    Where they are centred, X and R stand less their means in `gram` and `cross`.
    """

    gram: Tensor  # X'X, (groups, features, features)
    cross: Tensor  # X'R, (groups, features, outputs)
    around: Tensor  # mean of X, (groups, 1, features)
    missing: Tensor  # mean of R, (groups, 1, outputs)
    rows: int

    @property
    def finite(self) -> bool:
        """Whether all that was met are numbers."""
        return bool(self.gram.isfinite().all() and self.cross.isfinite().all())

    def definite(self) -> Tensor:
        """The Gram matrix with a ridge."""
        mean = self.gram.diagonal(dim1=1, dim2=2).mean(1)
        added = ridge(mean, self.rows, self.gram.shape[1])[:, 0].expand(self.gram.shape[:2])
        return self.gram + torch.diag_embed(added)


def ridge(mean_diagonal: Tensor, rows: int, features: int) -> Tensor:
    """Shape (groups, 1, 1); where nothing arrives at all, anything above zero."""
    scarce = max(1.0, ENOUGH_ROWS * features / rows)
    return (ALPHA * scarce * mean_diagonal).clamp(min=torch.finfo(torch.float32).tiny)[:, None, None]


def equations(chunks: Iterable[tuple[Tensor, Tensor]], *, centred: bool) -> Equations:
    """Summed up over chunks of (X, R) in float64, chunk by chunk in float32."""
    gram = cross = around = missing = torch.zeros(1, dtype=torch.float64)
    pivot, rows = torch.zeros(1), 0
    for x, r in chunks:
        pivot = near(x) if centred and not rows else pivot
        x = x - pivot
        turned = x.transpose(1, 2)
        gram, cross = gram + (turned @ x).double(), cross + (turned @ r).double()
        around, missing = around + x.double().sum(1, keepdim=True), missing + r.double().sum(1, keepdim=True)
        rows += x.shape[1]
    around, missing = around / rows, missing / rows
    if centred:
        gram = gram - rows * around.transpose(1, 2) @ around
        cross = cross - rows * around.transpose(1, 2) @ missing
    return Equations(gram=gram, cross=cross, around=around + pivot.double(), missing=missing, rows=rows)


def near(x: Tensor) -> Tensor:
    """About the mean of rows, which is large where activations were rectified: to take off before float32 products."""
    return x.mean(1, keepdim=True)

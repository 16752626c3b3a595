"""What least squares needs to know of many rows: products of inputs with each other and with what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from coppice.calibration.least_squares import ALPHA, ENOUGH_ROWS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equations:
    """Of rows X, shape (groups, rows, features), and what is missing of the outputs, R (groups, rows, outputs).

    Where they are centred, X and R stand less their means in `gram` and `cross`.
    """

    gram: Tensor  # X'X, (groups, features, features)
    cross: Tensor  # X'R, (groups, features, outputs)
    rows: int

    @property
    def finite(self) -> bool:
        """Whether all that was met are numbers."""
        return bool(self.gram.isfinite().all() and self.cross.isfinite().all())

    def definite(self) -> Tensor:
        """The Gram matrix with a ridge, as `least_squares` has it."""
        scarce = max(1.0, ENOUGH_ROWS * self.gram.shape[1] / self.rows)
        mean = self.gram.diagonal(dim1=1, dim2=2).mean(1)
        ridge = (ALPHA * scarce * mean).clamp(min=torch.finfo(torch.float32).tiny)
        return self.gram + torch.diag_embed(ridge[:, None].expand(self.gram.shape[:2]))


def equations(chunks: Iterable[tuple[Tensor, Tensor]], *, centred: bool) -> Equations:
    """Summed up over chunks of (X, R) in float64, chunk by chunk in float32."""
    gram = cross = around = missing = torch.zeros(1, dtype=torch.float64)
    pivot, rows = torch.zeros(1), 0
    for x, r in chunks:
        # Means are large where activations were rectified: taken off roughly before products are made in float32.
        pivot = x.mean(1, keepdim=True) if centred and not rows else pivot
        x = x - pivot
        turned = x.transpose(1, 2)
        gram, cross = gram + (turned @ x).double(), cross + (turned @ r).double()
        around, missing = around + x.double().sum(1, keepdim=True), missing + r.double().sum(1, keepdim=True)
        rows += x.shape[1]
    around, missing = around / rows, missing / rows
    if centred:
        gram = gram - rows * around.transpose(1, 2) @ around
        cross = cross - rows * around.transpose(1, 2) @ missing
    return Equations(gram=gram, cross=cross, rows=rows)

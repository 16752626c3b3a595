"""Ridge regression towards the weights that are there: the smallest change that explains most of what is missing.

For rows `X` and what is missing of the outputs, `R`, the change `D` that minimises `|R - X D|^2 + ridge |D|^2` (Hoerl
and Kennard 1970; reconstruction after channel pruning as in He et al., Channel Pruning for Accelerating Very Deep
Neural Networks, ICCV 2017, equation 2, with the ridge around the kept weights instead of around zero):

    D = (X'X + ridge I)^-1 X'R          where there are at least as many rows as features
    D = X' (XX' + ridge I)^-1 R         the same, where there are fewer

The ridge is ALPHA of the mean diagonal of X'X, and more where rows are few. Everything is done for all groups of a
product at once; products of chunks of rows are summed, and the systems solved, in float64.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

#: The ridge, as a part of the mean diagonal of X'X. From 1e-4 to 0.1 it makes little difference.
ALPHA = 0.02
#: Below this many rows for each feature the ridge grows as they get fewer.
ENOUGH_ROWS = 3
#: What the systems of one product may take, bytes.
SYSTEM_BYTES = 1024 * 1024 * 1024
#: A system of equations stands there summed, as the last product of two chunks in either precision, and factored; rows
#: that are fewer than features stand there as they came, joined, and in float64.
PER_EQUATION, PER_ENTRY = 28, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to add to a matrix, shape (groups, features, outputs), and to the outputs, shape (groups, 1, outputs)."""

    matrix: Tensor
    shift: Tensor


def fit(chunks: Iterable[tuple[Tensor, Tensor]], rows: int, *, centred: bool) -> Change:
    """Solve for chunks of (X, R), shapes (groups, some rows, features) and (groups, some rows, outputs).

    With `centred`, means are taken off first, and the shift puts back what that leaves out. Gives float64.
    """
    first = next(iter(chunks := iter(chunks)))
    features = first[0].shape[2]
    # Means are large where activations were rectified: taken off roughly before products are made in float32.
    pivot = first[0].mean(1, keepdim=True) if centred else torch.zeros_like(first[0][:, :1])
    solve = _dual if rows < features else _primal
    change, around, missing = solve(chain((first,), chunks), pivot, rows, centred)
    shift = missing - around @ change if centred else torch.zeros_like(change[:, :1])
    return Change(matrix=change, shift=shift)


def most_rows(groups: int, features: int) -> int:
    """How many rows can be fitted to within SYSTEM_BYTES; any number where they are summed up and let go."""
    bound = SYSTEM_BYTES / groups
    if PER_EQUATION * features**2 <= bound:
        return sys.maxsize
    # The larger root of PER_EQUATION rows^2 + PER_ENTRY features rows = bound: the dual form.
    half = PER_ENTRY * features / 2
    return max(1, int((math.sqrt(half**2 + PER_EQUATION * bound) - half) / PER_EQUATION))


def _ridge(mean_diagonal: Tensor, rows: int, features: int) -> Tensor:
    """Shape (groups, 1, 1); where nothing arrives at all, anything above zero."""
    scarce = max(1.0, ENOUGH_ROWS * features / rows)
    return (ALPHA * scarce * mean_diagonal).clamp(min=torch.finfo(torch.float32).tiny)[:, None, None]


def _primal(
    chunks: Iterable[tuple[Tensor, Tensor]], pivot: Tensor, rows: int, centred: bool
) -> tuple[Tensor, Tensor, Tensor]:
    gram = cross = around = missing = torch.zeros(1, dtype=torch.float64)
    for x, r in chunks:
        x = x - pivot
        turned = x.transpose(1, 2)
        gram, cross = gram + (turned @ x).double(), cross + (turned @ r).double()
        around, missing = around + x.double().sum(1, keepdim=True), missing + r.double().sum(1, keepdim=True)
    around, missing = around / rows, missing / rows
    if centred:
        gram = gram - rows * around.transpose(1, 2) @ around
        cross = cross - rows * around.transpose(1, 2) @ missing
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += _ridge(diagonal.mean(1), rows, gram.shape[1])[:, 0]
    change = torch.cholesky_solve(cross, torch.linalg.cholesky(gram))
    return change, around + pivot.double(), missing


def _dual(
    chunks: Iterable[tuple[Tensor, Tensor]], pivot: Tensor, rows: int, centred: bool
) -> tuple[Tensor, Tensor, Tensor]:
    parts = list(chunks)
    x = torch.cat([one for one, _ in parts], 1) - pivot
    r = torch.cat([one for _, one in parts], 1).double()
    around, missing = x.double().mean(1, keepdim=True), r.mean(1, keepdim=True)
    if centred:
        x, r = x - around.to(x.dtype), r - missing
    kernel = (x @ x.transpose(1, 2)).double()
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    diagonal += _ridge(diagonal.sum(1) / x.shape[2], rows, x.shape[2])[:, 0]
    change = x.transpose(1, 2).double() @ torch.cholesky_solve(r, torch.linalg.cholesky(kernel))
    return change, around + pivot.double(), missing

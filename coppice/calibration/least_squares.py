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

from coppice.calibration.normal_equations import equations, near, ridge

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
    solve = _dual if rows < first[0].shape[2] else _primal
    change, around, missing = solve(chain((first,), chunks), centred)
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


def _primal(chunks: Iterable[tuple[Tensor, Tensor]], centred: bool) -> tuple[Tensor, Tensor, Tensor]:
    found = equations(chunks, centred=centred)
    change = torch.cholesky_solve(found.cross, torch.linalg.cholesky(found.definite()))
    return change, found.around, found.missing


def _dual(chunks: Iterable[tuple[Tensor, Tensor]], centred: bool) -> tuple[Tensor, Tensor, Tensor]:
    parts = list(chunks)
    pivot = near(parts[0][0]) if centred else torch.zeros(1)
    x = torch.cat([one for one, _ in parts], 1) - pivot
    r = torch.cat([one for _, one in parts], 1).double()
    around, missing = x.double().mean(1, keepdim=True), r.mean(1, keepdim=True)
    if centred:
        x, r = x - around.to(x.dtype), r - missing
    kernel = (x @ x.transpose(1, 2)).double()
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    diagonal += ridge(diagonal.sum(1) / x.shape[2], x.shape[1], x.shape[2])[:, 0]
    change = x.transpose(1, 2).double() @ torch.cholesky_solve(r, torch.linalg.cholesky(kernel))
    return change, around + pivot.double(), missing

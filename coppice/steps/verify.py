"""verify: the oracle. Zero in the dense model exactly what the plan removes; the pruned model must give the same.

The cut is right for any weights or for none, so it is compared twice: with the user's own, and with weights shaken by
noise, which no zero can hide from (a residual branch whose last scale is still 0, a dead unit).

Where a rule mixes channels statistically (layer norm, group norm) equality can't hold; the caller says so with
`exact=False`. Then the models are compared with stand-ins for the statistics, on shaken weights, and both run as they
are: shapes and finiteness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map_only

from coppice.errors import ForwardFailed, OutputsNotNumbers, VerificationFailed
from coppice.records.plan import Plan
from coppice.records.report import Check, Verification
from coppice.steps.apply import apply, copied, masked
from coppice.steps.twins import differing, watched
from coppice.tracing import Network, forward

#: Largest |difference| over largest |output| of a right cut: float64 rounding over some hundred layers stays far below
#: the first; the second is what float32 leaves.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

#: A model that divides by small sums (linear attention) amplifies rounding: up to this much of what rounding every
#: weight once does to its own outputs is allowed, too.
ROUNDINGS = 32

#: Tensors whose mean absolute value is below this are shaken as if it were 1: a layer scale of 1e-6 would hide what it
#: scales.
NEGLIGIBLE = 1e-4

#: Above this many parameters the doubled copies would not fit a job's memory, so the check runs in float32.
FLOAT64_PARAMETERS = 60_000_000


def verify(network: Network, pruned: nn.Module, plan: Plan, *, exact: bool) -> Verification:
    """Compare the masked dense model with the pruned one on `network.inputs`; raises VerificationFailed.

    Runs in float64, or in float32 where the model is too large or its code insists on float32.
    """
    if not plan:
        return Verification(check=Check.NONE, notes=("nothing was removed",))
    compare = _equal if exact else _equal_but_for_statistics
    dtype = torch.float64 if _fits_doubled(network.module) else torch.float32
    try:
        worst = compare(network, pruned, plan, dtype)
    except ForwardFailed:
        if dtype is torch.float32:
            raise
        dtype = torch.float32  # the code mixes in tensors of a fixed float32
        worst = compare(network, pruned, plan, dtype)
    allowed = TOLERANCE[dtype]
    if allowed < worst < math.inf:
        allowed = max(allowed, ROUNDINGS * _rounding(network, plan, dtype))
    if worst > allowed:
        raise VerificationFailed(
            f"The pruned model differs from the masked original by {worst:.1e} relative; {allowed:.0e} is allowed."
        )
    return Verification(
        check=Check.EXACT if exact else Check.STATISTICS,
        dtype=str(dtype).removeprefix("torch."),
        max_relative_difference=worst,
        tolerance=allowed,
    )


def _equal(network: Network, pruned: nn.Module, plan: Plan, dtype: torch.dtype) -> float:
    inputs = _as(network.inputs, dtype)
    dense = masked(network.module, plan, dtype)
    expected = forward(dense, inputs)
    del dense  # its memory is needed for the next pair
    worst = difference(expected, forward(copied(pruned).to(dtype), inputs))
    if TOLERANCE[dtype] < worst < TOLERANCE[torch.float32]:
        # A cut that rescales weights (those of queries) rounds them to the precision that they are kept in.
        worst = difference(expected, forward(apply(copied(network.module).to(dtype), plan), inputs))
    shaken = _shaken(network.module).to(dtype)
    if (expected := _finite(masked(shaken, plan), inputs)) is not None:
        worst = max(worst, difference(expected, forward(apply(shaken, plan), inputs)))
    return worst


def _equal_but_for_statistics(network: Network, pruned: nn.Module, plan: Plan, dtype: torch.dtype) -> float:
    with watched() as of_original:
        expected = forward(network.module, network.inputs)
    with watched() as of_pruned:
        found = forward(pruned, network.inputs)
    shapes(expected, found)
    held = differing(of_original, of_pruned)
    inputs, shaken = _as(network.inputs, dtype), _shaken(network.module).to(dtype)
    dense = masked(shaken, plan)
    with watched(held) as of_masked:
        expected = _finite(dense, inputs)
    if expected is None or not of_masked.alike(of_original):
        shaken = copied(network.module).to(dtype)  # noise broke it, or led it elsewhere: the weights as they are
        dense = masked(shaken, plan)
        with watched(held):
            expected = forward(dense, inputs)
    del dense  # its memory is needed for the other
    cut = apply(shaken, plan)
    with watched(held):
        return difference(expected, forward(cut, inputs))


def _rounding(network: Network, plan: Plan, dtype: torch.dtype) -> float:
    """How far the masked original, shaken, moves from itself when every weight is rounded to its neighbour."""
    dense, inputs = masked(_shaken(network.module).to(dtype), plan), _as(network.inputs, dtype)
    if (expected := _finite(dense, inputs)) is None:
        return 0.0
    with torch.no_grad():
        for tensor in dense.parameters():
            if tensor.dtype is dtype:
                tensor.mul_(1 + torch.finfo(dtype).eps)
    return difference(expected, forward(dense, inputs))


def _fits_doubled(module: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in module.parameters()) <= FLOAT64_PARAMETERS


def _shaken(module: nn.Module) -> nn.Module:
    """A copy with every weight moved by a tenth of its tensor's size; what is next to zero, by a tenth.

    Positive tensors stay positive.
    """
    shaken = copied(module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*shaken.parameters(), *shaken.buffers()]:
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            # In place wherever it can be: the largest tensor of a large model leaves room for few copies of it.
            size = tensor.abs().nan_to_num_(0.0, 0.0, 0.0).mean().item()
            size = size if size > NEGLIGIBLE else 1.0
            noise = torch.randn(tensor.shape, generator=generator).mul_(0.1 * size).to(tensor)
            tensor += noise.abs_() if tensor.min() >= 0 else noise
    return shaken


def _finite(dense: nn.Module, inputs: Sequence[torch.Tensor]) -> Any:
    """The outputs of a shaken model; None when noise broke it, which says nothing about the cut."""
    try:
        outputs = forward(dense, inputs)
    except ForwardFailed:
        return None
    return None if any(leaf.isnan().any() for leaf in _leaves(outputs)) else outputs


def shapes(expected: Any, found: Any) -> None:
    """Outputs of the same structure and shapes, finite where the dense ones are; raises VerificationFailed."""
    for want, got in _paired(_leaves(expected), _leaves(found)):
        if torch.isfinite(want).all() and not torch.isfinite(got).all():
            raise VerificationFailed("The pruned model gives values that are not finite where the original's are.")


def difference(expected: Any, found: Any) -> float:
    """Largest |difference| over largest |expected|, over all outputs; raises VerificationFailed when shapes differ."""
    worst = 0.0
    for want, got in _paired(_leaves(expected), _leaves(found)):
        if not want.is_floating_point() and not want.is_complex():
            worst = max(worst, 0.0 if torch.equal(want, got) else math.inf)
        elif want.numel():
            worst = max(worst, _relative(want, got))
    return worst


def _relative(want: torch.Tensor, got: torch.Tensor) -> float:
    if want.isnan().any():
        raise OutputsNotNumbers(
            "The model gives NaN on the example input, so nothing can be verified. Send a trained model whose outputs "
            "are numbers."
        )
    finite = want.isfinite()  # a mask's -inf must stay where it is
    if got.isnan().any() or not torch.equal(want[~finite], got[~finite]):
        return math.inf
    if not finite.any():
        return 0.0
    scale = max(want[finite].abs().max().item(), torch.finfo(torch.float32).tiny)
    return (want[finite] - got[finite]).abs().max().item() / scale


def _as(inputs: Sequence[torch.Tensor], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    return tuple(tree_map_only(torch.Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, tuple(inputs)))


def _leaves(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, torch.Tensor)]


def _paired(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if [t.shape for t in expected] != [t.shape for t in found]:
        raise VerificationFailed(
            f"The pruned model's outputs have shapes {[tuple(t.shape) for t in found]}, "
            f"the original's {[tuple(t.shape) for t in expected]}."
        )
    return list(zip(expected, found, strict=True))

"""verify: the oracle. Zero in the dense model exactly what the plan removes; the pruned model must give the same.

The cut is right for any weights or for none, so it is compared twice: as it is delivered, and in float64 with weights
shaken by noise, which no zero can hide from (a residual branch whose last scale is still 0, a dead unit).

Where a rule mixes channels statistically (layer norm, group norm) equality can't hold; the caller says so with
`exact=False`. Then the models are compared with stand-ins for the statistics, on shaken weights, and both run as they
are: shapes and finiteness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map_only

from coppice.errors import ForwardFailed, OutputsNotNumbers, VerificationFailed
from coppice.records.plan import Plan
from coppice.records.report import Check, Verification
from coppice.steps.apply import Factor, apply, cast, faint, mask, masked, nothing
from coppice.steps.decisions import Decisions, Held
from coppice.steps.twins import Precisions, differing, watched
from coppice.tracing import Network, forward, stored

#: Largest |difference| over largest |output| of a right cut: float64 rounding over some hundred layers stays far below
#: the first; the second is what float32 leaves.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

#: A model that divides by small sums (linear attention) amplifies rounding: up to this much of what rounding every
#: weight once does to its own outputs is allowed, too.
ROUNDINGS = 32

#: From here on no rounding excuses a difference, though it may turn a choice.
WRONG = 1e-2

#: Tensors whose root mean square is below this are shaken as if it were 1: a layer scale of 1e-6 would hide what it
#: scales.
NEGLIGIBLE = 1e-4

#: How far every weight is moved at most, as a part of its tensor's size.
SHAKE = 0.2

#: Random numbers that are drawn for it, again and again. A prime: what is repeated never meets itself along an axis.
_NOISES = 100_003

#: What the report says of a model whose outputs depend on choices that rounding may turn.
DECIDED = (
    "the model decides by value (the best, those above a threshold): the pruned one was held to what the masked"
    " original decided, and the numbers that both decided by were compared, too"
)

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
    manner = Manner()
    try:
        worst = compare(network, pruned, plan, dtype, manner)
    except (ForwardFailed, OutputsNotNumbers):
        if dtype is torch.float32:
            raise
        dtype = torch.float32  # the code mixes in tensors of a fixed float32, or numbers that are none in float64
        worst = compare(network, pruned, plan, dtype, manner)
    allowed = TOLERANCE[dtype]
    if allowed < worst < WRONG:
        allowed = max(allowed, min(WRONG, ROUNDINGS * _rounding(network, plan, dtype)))
    others: list[Manner] = []
    if worst > allowed:
        others = [Manner(to=nothing), Manner(decided=True)]
    elif not manner.compared:  # a detector that finds nothing
        others = [Manner(decided=True)]
    for manner in others:
        with suppress(OutputsNotNumbers, ForwardFailed):  # a norm of nothing
            worst = compare(network, pruned, plan, dtype, manner)
        if worst <= allowed:
            break
    if worst > allowed:
        raise VerificationFailed(
            f"The pruned model differs from the masked original by {worst:.1e} relative; {allowed:.0e} is allowed."
        )
    return Verification(
        check=Check.EXACT if exact else Check.STATISTICS,
        dtype=str(dtype).removeprefix("torch."),
        max_relative_difference=worst,
        tolerance=allowed,
        notes=(DECIDED,) if manner.decided and manner.compared else (),
    )


@dataclass(slots=True, kw_only=True)
class Manner:
    """How two models are compared."""

    to: Factor = faint
    decided: bool = False  # the second is held to what the first decides by value
    compared: int = 0  # numbers, so far

    def apart(self, original: Callable[[], Any], pruned: Callable[[], Any]) -> float | None:
        """The difference of what two runs give; None where the first gives None."""
        with Decisions() if self.decided else nullcontext() as noted:
            expected = original()
        if expected is None:
            return None
        self.compared += _count(expected)
        if noted is None:
            return difference(expected, pruned())
        with Held(noted) as held:
            found = pruned()
        self.compared += held.compared
        worst: float = max(difference(expected, found), held.worst)
        return worst


def _equal(network: Network, pruned: nn.Module, plan: Plan, dtype: torch.dtype, manner: Manner) -> float:
    plain = torch.float32
    own = _own_difference(network, pruned, plan, None, manner)
    shaken = _shaken_difference(network, plan, dtype, manner)
    if shaken is not None and (shaken > WRONG or (dtype is not plain and own <= TOLERANCE[plain])):
        return shaken
    if dtype is not plain:  # rounding, or more than that: the user's own weights in the precision of the check
        own = _own_difference(network, pruned, plan, dtype, manner)
        if TOLERANCE[dtype] < own < TOLERANCE[plain]:
            # A cut that rescales weights (those of queries) rounds them to the precision that they are kept in.
            cut = apply(cast(network.module, dtype), plan)
            own = _own_difference(network, cut, plan, dtype, manner)
    return own if shaken is None else max(own, shaken)


def _own_difference(
    network: Network, pruned: nn.Module, plan: Plan, dtype: torch.dtype | None, manner: Manner
) -> float:
    """Of the models as they are; in another precision, if one is given."""
    dense = masked(network.module, plan, dtype, manner.to)
    inputs, cut = network.inputs, pruned
    if dtype is not None:
        inputs, cut = _as(inputs, dtype), cast(pruned, dtype)
    found = manner.apart(lambda: forward(dense, inputs), lambda: forward(cut, inputs))
    return math.inf if found is None else found


def _shaken_difference(network: Network, plan: Plan, dtype: torch.dtype, manner: Manner) -> float | None:
    """On weights moved by noise; None when noise broke the model, which says nothing about the cut."""
    inputs = _as(network.inputs, dtype)
    dense, cut = _pair(network, plan, dtype, manner, shaken=True)
    return manner.apart(lambda: _finite(dense, inputs), lambda: forward(cut, inputs))


def _pair(
    network: Network, plan: Plan, dtype: torch.dtype, manner: Manner, *, shaken: bool
) -> tuple[nn.Module, nn.Module]:
    """The masked original and the model cut from the same weights."""
    dense = cast(network.module, dtype)
    if shaken:
        _shake(dense, network.module)
    cut = apply(dense, plan)
    mask(dense, plan, manner.to)
    return dense, cut


def _equal_but_for_statistics(
    network: Network, pruned: nn.Module, plan: Plan, dtype: torch.dtype, manner: Manner
) -> float:
    noted = Decisions()
    with watched() as of_original, noted if manner.decided else nullcontext():
        expected = forward(network.module, network.inputs)
    with watched() as of_pruned, Held(noted) if manner.decided else nullcontext():
        found = forward(pruned, network.inputs)
    shapes(expected, found)
    held = differing(of_original, of_pruned)
    inputs = _as(network.inputs, dtype)
    dense, cut = _pair(network, plan, dtype, manner, shaken=True)

    def run(module: nn.Module) -> Any:
        with watched(held):
            return forward(module, inputs)

    def shaken() -> Any:
        with watched(held) as of_masked:
            outputs = _finite(dense, inputs)
        return outputs if of_masked.alike(of_original) else None

    worst = manner.apart(shaken, lambda: run(cut))
    if worst is None:  # noise broke it, or led it elsewhere: the weights as they are
        dense, cut = _pair(network, plan, dtype, manner, shaken=False)
        worst = manner.apart(lambda: run(dense), lambda: run(cut))
    return math.inf if worst is None else worst


def _rounding(network: Network, plan: Plan, dtype: torch.dtype) -> float:
    """How far the masked original, shaken, moves from itself when every weight is rounded to its neighbour.

    To its neighbour in the precision that the code computes in: some of it may insist on float32.
    """
    dense, inputs = cast(network.module, dtype), _as(network.inputs, dtype)
    _shake(dense, network.module)
    mask(dense, plan)
    with Precisions() as seen:
        expected = _finite(dense, inputs)
    if expected is None:
        return 0.0
    coarsest = torch.float32 if seen.found - {torch.float64} else torch.float64
    with torch.no_grad():
        for tensor in dense.parameters():
            if tensor.dtype is dtype:
                tensor.mul_(1 + torch.finfo(coarsest).eps)
    return difference(expected, forward(dense, inputs))


def _fits_doubled(module: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in module.parameters()) <= FLOAT64_PARAMETERS


def _shake(module: nn.Module, original: nn.Module) -> None:
    """Give a copy the original's weights, each moved by up to a fifth of its tensor's size; next to zero, by a fifth.

    Positive tensors stay positive.
    """
    noise, start = torch.rand(_NOISES, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 0
    copies = stored(module)  # a computed tensor that the original keeps is, in the copy, one more
    with torch.no_grad():
        for name, tensor in stored(original).items():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            copy = copies[name]
            around = (noise if tensor.min() >= 0 else 2 * noise - 1).to(tensor.device, copy.dtype)
            rounds = -(-(start + tensor.numel()) // _NOISES)
            line = around.repeat(rounds) if rounds > 1 else around
            torch.mul(line[start : start + tensor.numel()].view(tensor.shape), SHAKE * _size(tensor), out=copy)
            copy += tensor
            start = (start + tensor.numel()) % _NOISES


def _size(tensor: torch.Tensor) -> float:
    """The root of the mean square, as far as that is a number."""
    size = tensor.norm().item() / math.sqrt(tensor.numel())
    if not math.isfinite(size):
        size = tensor.nan_to_num(0.0, 0.0, 0.0).norm().item() / math.sqrt(tensor.numel())
    return size if size > NEGLIGIBLE else 1.0


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


def _count(outputs: Any) -> int:
    return sum(leaf.numel() for leaf in _leaves(outputs))


def _leaves(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, torch.Tensor)]


def _paired(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if [t.shape for t in expected] != [t.shape for t in found]:
        raise VerificationFailed(
            f"The pruned model's outputs have shapes {[tuple(t.shape) for t in found]}, "
            f"the original's {[tuple(t.shape) for t in expected]}."
        )
    return list(zip(expected, found, strict=True))

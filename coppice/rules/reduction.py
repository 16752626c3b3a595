"""Operators in which the positions of an axis meet.

A sum over channels is exact when the removed ones are zero, as the oracle makes them: the axis is read, and vanishes. A
mean, a largest value or a softmax becomes another one when channels go: marked, as layer norm is. Where the result
names positions (argmax, sort, a running sum), the axis is fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coppice.channels import Axes, Labels
from coppice.rules.blocks import reducing
from coppice.tracing.call import Call, Rule, fixed

#: What becomes of the labels of a reduced axis.
Meeting = Callable[[Call, Labels], None]


def _dims(call: Call, rank: int) -> set[int]:
    dim = call.arguments.get("dim")
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return set(range(rank))
    return {d % rank for d in (dim if isinstance(dim, (list, tuple)) else [dim])} if rank else set()


def summed(call: Call, labels: Labels) -> None:
    """Zeros add nothing."""
    call.ledger.contract(labels, labels)


def mixed(call: Call, labels: Labels) -> None:
    """The result depends on how many positions there are, or on the zeros of removed ones."""
    call.ledger.mixes(labels, f"a value is taken over all of these channels ({call.ledger.where})")


def held(call: Call, labels: Labels) -> None:
    """The result names positions."""
    call.ledger.fix(labels, "the channels are compared by position along their own axis")


def normed(call: Call, labels: Labels) -> None:
    """A norm of zeros is zero, but the norm of order -inf is the smallest of all."""
    order = next((call.arguments[name] for name in ("ord", "p") if call.arguments.get(name) is not None), 2)
    (summed if isinstance(order, (int, float)) and order > 0 else mixed)(call, labels)


def reduced(meeting: Meeting) -> Rule:
    """The axes vanish, or stay with size 1."""

    @reducing(_dims)
    def rule(call: Call) -> Sequence[Axes]:
        axes = call.axes("self")
        dims = _dims(call, len(axes))
        for dim in dims:
            meeting(call, axes[dim])
        rest = tuple(labels for axis, labels in enumerate(axes) if axis not in dims)
        kept = tuple(fixed([1])[0] if axis in dims else labels for axis, labels in enumerate(axes))
        return [kept if output.dim() == len(axes) else rest for output in call.outputs]

    return rule


def along(meeting: Meeting) -> Rule:
    """softmax, cumsum, sort: the shape stays, the positions along the axis depend on each other."""

    @reducing(_dims)
    def rule(call: Call) -> Sequence[Axes]:
        axes = call.axes("self")
        for dim in _dims(call, len(axes)):
            meeting(call, axes[dim])
        return [axes if output.dim() == len(axes) else fixed(output.shape) for output in call.outputs]

    return rule


def extreme(call: Call) -> Sequence[Axes]:
    """max and min along an axis: the value is mixed; who reads the positions too needs all of them."""
    outputs = reduced(mixed)(call)
    axes = call.axes("self")
    for dim in _dims(call, len(axes)):
        call.when_read(call.outputs[1], axes[dim], "the position of the largest or smallest channel is read")
    return outputs


def top(call: Call) -> Sequence[Axes]:
    """topk, kthvalue: the axis is cut to positions chosen by value."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    call.ledger.fix(axes[dim], "the channels are ranked along their own axis")
    axes[dim] = fixed([call.outputs[0].shape[dim]])[0]
    return [tuple(axes) for _ in call.outputs]


def suppressed(call: Call) -> Sequence[Axes]:
    """nms: which boxes stay is told by number."""
    for name in ("dets", "scores"):
        for labels in call.axes(name):
            call.ledger.fix(labels, "boxes that are compared")
    return [fixed(output.shape) for output in call.outputs]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("aten::_log_softmax", "aten::_safe_softmax", "aten::_softmax", "aten::log_softmax", "aten::softmax"),
        along(mixed),
    ),
    **dict.fromkeys(
        (
            "aten::argsort",
            "aten::cummax",
            "aten::cumprod",
            "aten::cumsum",
            "aten::logcumsumexp",
            "aten::sort",
        ),
        along(held),
    ),
    # What code asks of all channels (`assert not x.isnan().any()`), a removed one answers as the others do.
    **dict.fromkeys(("aten::all", "aten::any", "aten::nansum", "aten::sum"), reduced(summed)),
    **dict.fromkeys(("aten::linalg_vector_norm", "aten::norm"), reduced(normed)),
    **dict.fromkeys(
        (
            "aten::amax",
            "aten::amin",
            "aten::logsumexp",
            "aten::max",
            "aten::mean",
            "aten::min",
            "aten::std",
            "aten::std_mean",
            "aten::var",
            "aten::var_mean",
        ),
        reduced(mixed),
    ),
    **dict.fromkeys(
        (
            "aten::argmax",
            "aten::argmin",
            "aten::median",
            "aten::prod",
        ),
        reduced(held),
    ),
    **dict.fromkeys(("aten::max.dim", "aten::min.dim"), extreme),
    "aten::topk": top,
    "torchvision::nms": suppressed,
}

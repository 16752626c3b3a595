"""Operators in which the positions of an axis meet: that axis is fixed, the others pass."""

from __future__ import annotations

from collections.abc import Sequence

from coppice.channels import Axes
from coppice.tracing.call import Call, Rule, fixed


def _dims(call: Call, rank: int) -> set[int]:
    dim = call.arguments.get("dim")
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return set(range(rank))
    return {d % rank for d in (dim if isinstance(dim, (list, tuple)) else [dim])} if rank else set()


def along(call: Call) -> Sequence[Axes]:
    """softmax, cumsum, sort: the shape stays, the positions along the axis depend on each other."""
    axes = call.axes("self")
    for dim in _dims(call, len(axes)):
        call.ledger.fix(axes[dim], "the channels are compared or summed along their own axis")
    return [axes if output.dim() == len(axes) else fixed(output.shape) for output in call.outputs]


def reduced(call: Call) -> Sequence[Axes]:
    """sum, mean, max: the axes vanish, or stay with size 1."""
    axes = call.axes("self")
    dims = _dims(call, len(axes))
    for dim in dims:
        call.ledger.fix(axes[dim], "the channels are reduced to one value")
    rest = tuple(labels for axis, labels in enumerate(axes) if axis not in dims)
    kept = tuple(fixed([1])[0] if axis in dims else labels for axis, labels in enumerate(axes))
    return [kept if output.dim() == len(axes) else rest for output in call.outputs]


def top(call: Call) -> Sequence[Axes]:
    """topk, kthvalue: the axis is cut to positions chosen by value."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    call.ledger.fix(axes[dim], "the channels are ranked along their own axis")
    axes[dim] = fixed([call.outputs[0].shape[dim]])[0]
    return [tuple(axes) for _ in call.outputs]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "aten::_log_softmax",
            "aten::_safe_softmax",
            "aten::_softmax",
            "aten::argsort",
            "aten::cummax",
            "aten::cumprod",
            "aten::cumsum",
            "aten::log_softmax",
            "aten::logcumsumexp",
            "aten::softmax",
            "aten::sort",
        ),
        along,
    ),
    **dict.fromkeys(
        (
            "aten::all",
            "aten::amax",
            "aten::amin",
            "aten::any",
            "aten::argmax",
            "aten::argmin",
            "aten::linalg_vector_norm",
            "aten::logsumexp",
            "aten::max.dim",
            "aten::max",
            "aten::mean",
            "aten::median",
            "aten::min.dim",
            "aten::min",
            "aten::norm",
            "aten::nansum",
            "aten::prod",
            "aten::std",
            "aten::std_mean",
            "aten::sum",
            "aten::var",
            "aten::var_mean",
        ),
        reduced,
    ),
    "aten::topk": top,
}

"""Element-wise operators: the inputs are tied along each axis, with broadcasting.

Operators that the framework tags `pointwise` need no row here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice.channels import Axes, Labels
from coppice.rules.blocks import meeting
from coppice.tracing.call import Call, Rule, fixed


@meeting
def elementwise(call: Call) -> Sequence[Axes]:
    """Tie what meets; a size-1 axis that is stretched over another stays as it is."""
    axes = broadcast(call, [call.labels(tensor) for tensor in call.tensors()], call.outputs[0].shape)
    return [axes for _ in call.outputs]


def broadcast(call: Call, operands: Sequence[Axes], shape: Sequence[int]) -> Axes:
    """Labels of the result of broadcasting the operands to `shape`."""
    result: list[Labels] = list(fixed(shape))
    for place in range(1, len(shape) + 1):
        meeting = [axes[-place] for axes in operands if len(axes) >= place]
        spread = [labels for labels in meeting if labels.size == shape[-place]]
        for stretched in (labels for labels in meeting if labels.size != shape[-place]):
            call.ledger.fix(stretched, "a single position spread over an axis")
        if spread:
            result[-place] = spread[0]
            for labels in spread[1:]:
                result[-place] = call.ledger.tie(result[-place], labels)
    return tuple(result)


def compared(call: Call) -> Sequence[Axes]:
    """equal, allclose: what meets is compared, and one answer given for all; a removed channel equals itself."""
    first, second = call.axes("self"), call.axes("other")
    for labels in broadcast(call, [first, second], np.broadcast_shapes(*(one.shape for one in call.tensors()))):
        call.ledger.contract(labels, labels)
    return []


def triangle(call: Call) -> Sequence[Axes]:
    """tril, triu: which values survive depends on the position along the last two axes."""
    axes = call.axes("self")
    for labels in axes[-2:]:
        call.ledger.fix(labels, "values chosen by position")
    return [axes]


def gated(call: Call) -> Sequence[Axes]:
    """glu: both halves of an axis meet, position by position."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    first, second = axes[dim][: axes[dim].size // 2], axes[dim][axes[dim].size // 2 :]
    call.ledger.tie(first, second)
    axes[dim] = first
    return [tuple(axes)]


def kept(call: Call) -> Sequence[Axes]:
    """In-place filling and random numbers: the tensor keeps its labels, whatever its values become."""
    return [call.axes("self")]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "aten::_to_copy",
            "aten::alias",
            "aten::clone",
            "aten::complex",
            "aten::contiguous",
            "aten::copy",
            "aten::copy_",
            "aten::detach",
            "aten::dropout",
            "aten::floor_divide",
            "aten::hardswish",
            "aten::lift_fresh",
            "aten::log_sigmoid_forward",
            "aten::masked_fill",
            "aten::native_dropout",
            "aten::polar",
            "aten::rrelu_with_noise",
            "aten::rsub",
            "aten::where",
            "aten::_prelu_kernel",
        ),
        elementwise,
    ),
    **dict.fromkeys(
        (
            "aten::bernoulli",
            "aten::exponential",
            "aten::fill",
            "aten::normal_",
            "aten::random",
            "aten::uniform",
            "aten::zero",
        ),
        kept,
    ),
    **dict.fromkeys(("aten::allclose", "aten::equal.default"), compared),  # the tag calls the second pointwise
    "aten::glu": gated,
    "aten::tril": triangle,
    "aten::triu": triangle,
}

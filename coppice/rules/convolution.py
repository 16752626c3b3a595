"""Convolutions, plain, grouped, depthwise and transposed.

The weight of a grouped convolution is one rectangle over all groups, so position i of every group's inputs is one unit,
and every group keeps as many outputs. With a single input channel per group (depthwise) whole groups go instead: each
takes its input and its outputs along.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice.channels import Axes, Labels
from coppice.tracing.call import Call, Rule, fixed


def convolution(call: Call) -> Sequence[Axes]:
    """aten::convolution: weight `(out, in / groups, *kernel)`, or `(in, out / groups, *kernel)` when transposed."""
    x, weight, groups = call.axes("input"), call.axes("weight"), call["groups"]
    spatial = len(weight) - 2
    channels = x[-spatial - 1]
    places = [_place(call, number, x[number - spatial], weight[2 + number]) for number in range(spatial)]
    rule = _transposed if call["transposed"] else _forward
    out = rule(call, channels, weight[0], weight[1], groups)
    if call["bias"] is not None:
        call.ledger.tie(out, call.axes("bias")[0])
    return [(*x[: -spatial - 1], out, *places)]


def _place(call: Call, number: int, x: Labels, kernel: Labels) -> Labels:
    """Labels of a spatial axis of the result: fixed, but where channels lie along it."""
    weight, length = call["weight"], call.outputs[0].shape[number - (call["weight"].dim() - 2)]
    if length == 1 and kernel.size == x.size and not call["transposed"] and not call["padding"][number]:
        call.ledger.contract(x, kernel)  # the kernel reads the whole axis at once
        return fixed([1])[0]
    call.ledger.fix(kernel, "spatial axis of a convolution")
    if kernel.size == 1 and length == x.size and call["stride"][number] == 1 and not call["padding"][number]:
        return x  # every place for itself
    if length == x.size and x.any() and weight.shape[0] == weight.shape[1] == 1:
        # One kernel over the channels (ECA): it reads neighbours, whoever they are after the cut.
        call.ledger.mixes(x, f"a convolution runs along these channels ({call.ledger.where})")
        return x
    call.ledger.fix(x, "spatial axis of a convolution")
    return fixed([length])[0]


def _forward(call: Call, x: Labels, out: Labels, into: Labels, groups: int) -> Labels:
    call.ledger.produces(out)
    if groups == 1:
        call.ledger.contract(x, into)
    elif into.size == 1:
        call.ledger.fix(into, "one input channel per group")
        call.ledger.tie(np.repeat(x, out.size // groups), out)
    else:
        call.ledger.contract(x, np.tile(into, groups))
        call.ledger.balance(list(out.reshape(groups, -1)))
    return out


def _transposed(call: Call, x: Labels, into: Labels, out: Labels, groups: int) -> Labels:
    if groups == 1:
        call.ledger.contract(x, into)
        call.ledger.produces(out)
        return out
    if x.size == groups:
        call.ledger.fix(out, "outputs per group of a depthwise transposed convolution")
        call.ledger.produces(into)
        call.ledger.tie(x, into)
        return np.repeat(into, out.size)
    call.ledger.contract(x, into)
    call.ledger.balance(list(into.reshape(groups, -1)))
    call.ledger.produces(out)
    return np.tile(out, groups)


def deformed(call: Call) -> Sequence[Axes]:
    """torchvision::deform_conv2d: a convolution each of whose taps looks where the offsets say."""
    x, weight, offset = call.axes("input"), call.axes("weight"), call.axes("offset")
    steering = [offset, call.axes("mask")] if call["use_mask"] else [offset]
    for labels in (*x[2:], *weight[2:], *(labels for axes in steering for labels in axes[1:])):
        call.ledger.fix(labels, "places that a kernel looks at")
    for axes in steering:
        call.ledger.tie(x[0], axes[0])
    if call["offset_groups"] > 1:
        call.ledger.balance(list(x[1].reshape(call["offset_groups"], -1)))
    out = _forward(call, x[1], weight[0], weight[1], call["groups"])
    call.ledger.tie(out, call.axes("bias")[0])
    return [(x[0], out, *fixed(call.outputs[0].shape[2:]))]


RULES: dict[str, Rule] = {
    "aten::convolution": convolution,
    "aten::_convolution": convolution,
    "torchvision::deform_conv2d": deformed,
}

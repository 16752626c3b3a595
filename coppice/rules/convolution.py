"""Convolutions, plain, grouped, depthwise and transposed.

The weight of a grouped convolution is one rectangle over all groups, so position i of every group is one unit. With a
single input channel per group (depthwise) whole groups go instead: each takes its input and its outputs along.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice.channels import Axes, Labels
from coppice.tracing.call import Call, Rule


def convolution(call: Call) -> Sequence[Axes]:
    """aten::convolution: weight `(out, in / groups, *kernel)`, or `(in, out / groups, *kernel)` when transposed."""
    x, weight, groups = call.axes("input"), call.axes("weight"), call["groups"]
    spatial = len(weight) - 2
    channels = x[-spatial - 1]
    for labels in (*weight[2:], *x[-spatial:]):
        call.ledger.fix(labels, "spatial axis of a convolution")
    rule = _transposed if call["transposed"] else _forward
    out = rule(call, channels, weight[0], weight[1], groups)
    if call["bias"] is not None:
        call.ledger.tie(out, call.axes("bias")[0])
    shape = call.outputs[0].shape
    return [(*x[: -spatial - 1], out, *(np.zeros(n, dtype=np.int64) for n in shape[-spatial:]))]


def _forward(call: Call, x: Labels, out: Labels, into: Labels, groups: int) -> Labels:
    call.ledger.produces(out)
    if groups == 1:
        call.ledger.contract(x, into)
    elif into.size == 1:
        call.ledger.fix(into, "one input channel per group")
        call.ledger.tie(np.repeat(x, out.size // groups), out)
    else:
        call.ledger.contract(x, np.tile(into, groups))
        _align(call, out, groups)
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
    _align(call, into, groups)
    call.ledger.produces(out)
    return np.tile(out, groups)


def _align(call: Call, labels: Labels, groups: int) -> None:
    """Position i of every group is one unit."""
    by_group = labels.reshape(groups, -1)
    for other in by_group[1:]:
        call.ledger.tie(by_group[0], other)


RULES: dict[str, Rule] = {
    "aten::convolution": convolution,
    "aten::_convolution": convolution,
}

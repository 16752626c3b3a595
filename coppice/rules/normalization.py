"""Normalisation: the parameters are tied to the axis that they scale.

Batch norm looks at each channel alone. Layer and group norm take statistics over channels, so removing one changes
what the others become: they are marked, and verification says that equality can't hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice.channels import Axes
from coppice.tracing.call import Call, Rule, fixed


def batch_norm(call: Call) -> Sequence[Axes]:
    """Weight, bias and running statistics follow axis 1; fresh statistics run over the other axes."""
    x = call.axes("input")
    if call.arguments.get("training", "update" in call.op._schema.name):
        for labels in (*x[:1], *x[2:]):  # of an image they are fixed, of a standardised weight they are channels
            call.ledger.mixes(labels, f"batch statistics run over these channels ({call.ledger.where})")
    for name in ("weight", "bias", "running_mean", "running_var"):
        if call.arguments.get(name) is not None:
            call.ledger.tie(x[1], call.axes(name)[0])
    if call.arguments.get("weight") is not None:
        call.ledger.scales(call.axes("weight")[0])
    return [x, *((x[1],) if len(output.shape) == 1 else fixed(output.shape) for output in call.outputs[1:])][
        : len(call.outputs)
    ]


def layer_norm(call: Call) -> Sequence[Axes]:
    """Weight and bias follow the normalised axes, whose statistics mix their positions."""
    x = call.axes("input")
    normalized = x[-len(call["normalized_shape"]) :]
    for labels in normalized:
        call.ledger.mixes(labels, f"layer norm takes its mean and variance over these channels ({call.ledger.where})")
    for name in ("weight", "bias"):
        if call[name] is not None:
            for labels, own in zip(normalized, call.axes(name), strict=True):
                call.ledger.tie(labels, own)
    return [x, *(fixed(output.shape) for output in call.outputs[1:])]


def group_norm(call: Call) -> Sequence[Axes]:
    """The groups stay equally wide; with one channel per group there is nothing to mix."""
    x, groups = call.axes("input"), call["group"]
    for name in ("weight", "bias"):
        if call[name] is not None:
            call.ledger.tie(x[1], call.axes(name)[0])
    by_group = x[1].reshape(groups, -1)
    if by_group.shape[1] > 1:
        call.ledger.balance(list(by_group))
        call.ledger.mixes(x[1], f"group norm takes its mean and variance over these channels ({call.ledger.where})")
    return [x, *(tuple(np.zeros(n, dtype=np.int64) for n in output.shape) for output in call.outputs[1:])]


def weight_norm(call: Call) -> Sequence[Axes]:
    """_weight_norm_interface: `v` scaled to length `g` for each position of `dim`; zeros add nothing to a length."""
    v, g, dim = call.axes("v"), call.axes("g"), call["dim"]
    call.ledger.tie(v[dim], g[dim])
    return [v, tuple(v[dim] if axis == dim else labels for axis, labels in enumerate(g))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "aten::_batch_norm_with_update",
            "aten::_batch_norm_with_update_functional",
            "aten::_batch_norm_no_update",
            "aten::_native_batch_norm_legit",
            "aten::_native_batch_norm_legit_no_training",
            "aten::cudnn_batch_norm",
            "aten::miopen_batch_norm",
            "aten::native_batch_norm",
        ),
        batch_norm,
    ),
    "aten::native_group_norm": group_norm,
    "aten::native_layer_norm": layer_norm,
    "aten::_weight_norm_interface": weight_norm,
}

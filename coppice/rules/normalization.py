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
    """Weight, bias and running statistics follow axis 1."""
    x = call.axes("input")
    for name in ("weight", "bias", "running_mean", "running_var"):
        if call.arguments.get(name) is not None:
            call.ledger.tie(x[1], call.axes(name)[0])
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
    """Position i of every group is one unit, so that the groups stay equally wide."""
    x, groups = call.axes("input"), call["group"]
    for name in ("weight", "bias"):
        if call[name] is not None:
            call.ledger.tie(x[1], call.axes(name)[0])
    by_group = x[1].reshape(groups, -1)
    if by_group.shape[1] == 1:
        call.ledger.fix(x[1], "one channel per group of a group norm")
    for other in by_group[1:]:
        call.ledger.tie(by_group[0], other)
    call.ledger.mixes(x[1], f"group norm takes its mean and variance over these channels ({call.ledger.where})")
    return [x, *(tuple(np.zeros(n, dtype=np.int64) for n in output.shape) for output in call.outputs[1:])]


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
}

"""Concatenation: labels are concatenated along the axis and tied along the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice.channels import Axes, Labels
from coppice.tracing.call import Call, Rule


def concatenate(call: Call) -> Sequence[Axes]:
    """cat; empty one-dimensional tensors are skipped, as the operator does."""
    parts = [call.labels(tensor) for tensor in call["tensors"] if tuple(tensor.shape) != (0,)]
    dim = call["dim"] % len(parts[0])
    axes: list[Labels] = list(parts[0])
    axes[dim] = np.concatenate([_staying(call, part[dim]) for part in parts])
    for part in parts[1:]:
        for axis, other in enumerate(part):
            if axis != dim:
                axes[axis] = call.ledger.tie(axes[axis], other)
    return [tuple(axes)]


def _staying(call: Call, labels: Labels) -> Labels:
    """A single position never goes (a class token); said at once, so that the axis it joins is free of it."""
    if labels.size > 1 or not labels.any():
        return labels
    call.ledger.fix(labels, "the only position of its axis")
    return np.zeros_like(labels)


def stack(call: Call) -> Sequence[Axes]:
    """stack: a new, fixed axis; everything else tied."""
    parts = [call.labels(tensor) for tensor in call["tensors"]]
    for part in parts[1:]:
        for first, other in zip(parts[0], part, strict=True):
            call.ledger.tie(first, other)
    axes = list(parts[0])
    axes.insert(call["dim"] % (len(axes) + 1), np.zeros(len(parts), dtype=np.int64))
    return [tuple(axes)]


RULES: dict[str, Rule] = {"aten::cat": concatenate, "aten::stack": stack}

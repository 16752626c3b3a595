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
    joined = [_staying(call, part[dim]) for part in parts]
    axes[dim] = np.concatenate(_sequence(call, joined) if any(not labels.any() for labels in joined) else joined)
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


def _sequence(call: Call, parts: Sequence[Labels]) -> list[Labels]:
    """Learned positions beside fixed ones (registers, prompts): no layer has made channels of them, so they stay."""
    learned = [labels.any() and call.ledger.bare(labels) for labels in parts]
    for labels, is_learned in zip(parts, learned, strict=True):
        if is_learned:
            call.ledger.fix(labels, "learned positions of a sequence")
    return [np.zeros_like(labels) if held else labels for labels, held in zip(parts, learned, strict=True)]


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

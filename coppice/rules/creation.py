"""Tensors made during the forward pass.

One value everywhere (zeros, ones) suits any number of channels, so its positions are free to follow what they meet.
Values that depend on the position (arange, eye) are fixed.
"""

from __future__ import annotations

from collections.abc import Sequence

from coppice.channels import Axes
from coppice.tracing.call import Call, Rule, fixed


def free(call: Call) -> Sequence[Axes]:
    """The same value, or a random one, at every position."""
    return [tuple(call.ledger.fresh(length) for length in call.outputs[0].shape)]


def like(call: Call) -> Sequence[Axes]:
    """Of the shape of another tensor, and with its labels."""
    return [call.axes("self")]


def positional(call: Call) -> Sequence[Axes]:
    """A different value at each position."""
    return [fixed(output.shape) for output in call.outputs]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "aten::empty",
            "aten::full",
            "aten::new_empty",
            "aten::new_full",
            "aten::new_ones",
            "aten::new_zeros",
            "aten::ones",
            "aten::rand",
            "aten::randn",
            "aten::scalar_tensor",
            "aten::zeros",
        ),
        free,
    ),
    **dict.fromkeys(
        (
            "aten::empty_like",
            "aten::full_like",
            "aten::ones_like",
            "aten::rand_like",
            "aten::randn_like",
            "aten::zeros_like",
        ),
        like,
    ),
    **dict.fromkeys(
        (
            "aten::arange",
            "aten::eye",
            "aten::linspace",
            "aten::randint",
            "aten::randperm",
            "aten::tril_indices",
            "aten::triu_indices",
        ),
        positional,
    ),
}

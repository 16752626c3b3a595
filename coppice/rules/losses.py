"""Losses that a model computes in its own forward: two tensors meet, and their differences are summed or averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice.channels import Axes
from coppice.rules.elementwise import broadcast
from coppice.rules.indexing import PICKED
from coppice.rules.reduction import mixed, summed
from coppice.tracing.call import Call, Rule, fixed

#: torch's numbers for `reduction`: each value for itself, their mean, their sum.
_NONE, _MEAN, _SUM = range(3)


def pointwise(call: Call) -> Sequence[Axes]:
    """Values and targets are tied; the mean of all runs over the channels too."""
    operands = list(call.tensors())
    axes = broadcast(
        call, [call.labels(tensor) for tensor in operands], np.broadcast_shapes(*(x.shape for x in operands))
    )
    if call["reduction"] == _NONE:
        return [axes]
    meeting = summed if call["reduction"] == _SUM else mixed
    for labels in axes:
        meeting(call, labels)
    return [fixed(output.shape) for output in call.outputs]


def classified(call: Call) -> Sequence[Axes]:
    """nll_loss: the class is picked by its number, for each sample or place."""
    for tensor in call.tensors():
        for labels in call.labels(tensor):
            call.ledger.fix(labels, PICKED)
    return [fixed(output.shape) for output in call.outputs]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "aten::binary_cross_entropy",
            "aten::binary_cross_entropy_with_logits",
            "aten::huber_loss",
            "aten::mse_loss",
            "aten::smooth_l1_loss",
            "aten::soft_margin_loss",
        ),
        pointwise,
    ),
    **dict.fromkeys(("aten::nll_loss_forward", "aten::nll_loss2d_forward"), classified),
}

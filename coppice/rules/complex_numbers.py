"""Complex numbers and the pairs of real ones that they are made of: the axis of the pair stays, the others pass."""

from __future__ import annotations

from collections.abc import Sequence

from coppice.channels import Axes
from coppice.tracing.call import Call, Rule, fixed


def joined(call: Call) -> Sequence[Axes]:
    """view_as_complex: the last axis, real and imaginary part, vanishes."""
    *axes, pair = call.axes("self")
    call.ledger.fix(pair, "real and imaginary part")
    return [tuple(axes)]


def parted(call: Call) -> Sequence[Axes]:
    """view_as_real: a last axis of two."""
    return [(*call.axes("self"), *fixed([2]))]


RULES: dict[str, Rule] = {"aten::view_as_complex": joined, "aten::view_as_real": parted}

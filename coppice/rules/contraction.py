"""Matrix products: the contracted axes are tied, the others pass through."""

from __future__ import annotations

from collections.abc import Sequence

from coppice.channels import Axes
from coppice.rules.elementwise import broadcast
from coppice.tracing.call import Call, Rule


def product(call: Call, left: Axes, right: Axes) -> Axes:
    """`(..., n, k) @ (..., k, m)`: batch axes tied, k contracted, n and m produced."""
    batch = tuple(left[:-2])
    for a, b in zip(left[:-2], right[:-2], strict=True):
        call.ledger.tie(a, b)
    call.ledger.contract(left[-1], right[-2])
    call.ledger.produces(left[-2])
    call.ledger.produces(right[-1])
    return (*batch, left[-2], right[-1])


def matrix_product(call: Call) -> Sequence[Axes]:
    """mm, bmm."""
    return [product(call, call.axes("self"), call.axes("mat2"))]


def added_product(left: str, right: str) -> Rule:
    """addmm, baddbmm: the product, plus a term that is broadcast to it."""

    def rule(call: Call) -> Sequence[Axes]:
        axes = product(call, call.axes(left), call.axes(right))
        return [broadcast(call, [axes, call.axes("self")], call.outputs[0].shape)]

    return rule


def matrix_vector(call: Call) -> Sequence[Axes]:
    """mv: `(n, k) @ (k,)`."""
    left, right = call.axes("self"), call.axes("vec")
    call.ledger.contract(left[1], right[0])
    call.ledger.produces(left[0])
    return [(left[0],)]


def inner_product(call: Call) -> Sequence[Axes]:
    """dot: `(k,) @ (k,)`."""
    call.ledger.contract(call.axes("self")[0], call.axes("tensor")[0])
    return [()]


def linear(call: Call) -> Sequence[Axes]:
    """linear where the dispatcher does not split it: `x @ weight.T + bias`."""
    x, (out, into) = call.axes("input"), call.axes("weight")
    call.ledger.contract(x[-1], into)
    call.ledger.produces(out)
    if call["bias"] is not None:
        call.ledger.tie(out, call.axes("bias")[0])
    return [(*x[:-1], out)]


RULES: dict[str, Rule] = {
    "aten::mm": matrix_product,
    "aten::bmm": matrix_product,
    "aten::addmm": added_product("mat1", "mat2"),
    "aten::baddbmm": added_product("batch1", "batch2"),
    "aten::mv": matrix_vector,
    "aten::dot": inner_product,
    "aten::linear": linear,
}

"""Matrix products: the contracted axes are tied, the others pass through."""

from __future__ import annotations

from collections.abc import Sequence

from coppice.channels import Axes
from coppice.rules.blocks import multiplying
from coppice.rules.elementwise import broadcast
from coppice.tracing.call import Call, Rule, fixed
from coppice.tracing.tracer import refuse


def product(call: Call, left: Axes, right: Axes) -> Axes:
    """`(..., n, k) @ (..., k, m)`: batch axes tied, k contracted, n and m produced."""
    batch = [call.ledger.tie(a, b) for a, b in zip(left[:-2], right[:-2], strict=True)]
    call.ledger.contract(left[-1], right[-2])
    call.ledger.produces(left[-2])
    call.ledger.produces(right[-1])
    return (*batch, left[-2], right[-1])


@multiplying("self", "mat2")
def matrix_product(call: Call) -> Sequence[Axes]:
    """mm, bmm."""
    return [product(call, call.axes("self"), call.axes("mat2"))]


def added_product(left: str, right: str) -> Rule:
    """addmm, baddbmm: the product, plus a term that is broadcast to it."""

    @multiplying(left, right)
    def rule(call: Call) -> Sequence[Axes]:
        axes = product(call, call.axes(left), call.axes(right))
        return [broadcast(call, [axes, call.axes("self")], call.outputs[0].shape)]

    return rule


def grouped_product(call: Call) -> Sequence[Axes]:
    """_grouped_mm: every group of rows is multiplied by a matrix of its own (experts)."""
    rows, matrices = call.axes("self"), call.axes("mat2")
    if len(rows) != 2 or len(matrices) != 3:
        return refuse(call)
    call.ledger.fix(matrices[0], "one matrix for each group of rows")
    call.ledger.contract(rows[1], matrices[1])
    call.ledger.produces(matrices[2])
    if call["bias"] is not None:
        call.ledger.tie(matrices[2], call.axes("bias")[-1])
    return [(rows[0], matrices[2])]


def solved(call: Call) -> Sequence[Axes]:
    """linalg_solve_triangular: a system along one axis of both, for each column, or row, of the other by itself."""
    system, known = call.axes("self"), call.axes("B")
    along = -2 if call["left"] else -1
    for labels in (system[-1], system[-2], known[along]):
        call.ledger.fix(labels, "a system of equations is solved along this axis")
    shape = call.outputs[0].shape
    found = [*broadcast(call, [system[:-2], known[:-2]], shape[:-2]), *known[-2:]]
    found[along] = fixed([known[along].size])[0]
    return [tuple(found)]


def matrix_vector(call: Call) -> Sequence[Axes]:
    """mv: `(n, k) @ (k,)`."""
    left, right = call.axes("self"), call.axes("vec")
    call.ledger.contract(left[1], right[0])
    call.ledger.produces(left[0])
    return [(left[0],)]


def inner_product(call: Call) -> Sequence[Axes]:
    """dot, vdot: `(k,) @ (k,)`."""
    (other,) = call.labels(next(call.arguments[name] for name in ("tensor", "other") if name in call.arguments))
    call.ledger.contract(call.axes("self")[0], other)
    return [()]


def linear(call: Call) -> Sequence[Axes]:
    """linear where the dispatcher does not split it: `x @ weight.T + bias`."""
    x, (out, into) = call.axes("input"), call.axes("weight")
    call.ledger.contract(x[-1], into)
    call.ledger.produces(out)
    if call["bias"] is not None:
        call.ledger.tie(out, call.axes("bias")[0])
    return [(*x[:-1], out)]


def trilinear(call: Call) -> Sequence[Axes]:
    """_trilinear (Bilinear): three tensors, each stretched by some axes, multiplied, and summed over some."""
    operands = [iter(call.axes(name)) for name in ("i1", "i2", "i3")]
    stretched = [call[f"expand{number}"] for number in (1, 2, 3)]
    produced = []
    for place in range(max(len(call.axes(f"i{n}")) + len(call[f"expand{n}"]) for n in (1, 2, 3))):
        meeting = [next(axes) for axes, skipped in zip(operands, stretched, strict=True) if place not in skipped]
        for labels in meeting[1:]:
            call.ledger.tie(meeting[0], labels)
        for labels in meeting:
            if place in call["sumdim"]:
                call.ledger.contract(labels, labels)
            else:
                call.ledger.produces(labels)
        if place not in call["sumdim"]:
            produced.append(meeting[0])
    return [tuple(produced)]


def distances(call: Call) -> Sequence[Axes]:
    """cdist: `(..., n, k)` to `(..., m, k)`; two zeros are at no distance."""
    left, right = call.axes("x1"), call.axes("x2")
    call.ledger.contract(left[-1], right[-1])
    shape = call.outputs[0].shape
    batch = broadcast(call, [left[:-2], right[:-2]], shape[:-2])
    return [(*batch, left[-2], right[-2])]


RULES: dict[str, Rule] = {
    "aten::mm": matrix_product,
    "aten::bmm": matrix_product,
    "aten::addmm": added_product("mat1", "mat2"),
    "aten::baddbmm": added_product("batch1", "batch2"),
    "aten::_grouped_mm": grouped_product,
    "aten::linalg_solve_triangular": solved,
    "aten::mv": matrix_vector,
    "aten::dot": inner_product,
    "aten::vdot": inner_product,
    "aten::linear": linear,
    "aten::_trilinear": trilinear,
    **dict.fromkeys(("aten::_cdist_forward", "aten::_euclidean_dist"), distances),
}

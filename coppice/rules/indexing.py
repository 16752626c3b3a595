"""Picking and placing by index tensors: the indexed axis is fixed, because the index counts positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from coppice.channels import Axes
from coppice.rules.elementwise import broadcast
from coppice.tracing.call import Call, Rule, fixed

PICKED = "picked by position"


def embedding(call: Call) -> Sequence[Axes]:
    """Rows are picked by token; the columns are channels."""
    rows, columns = call.axes("weight")
    call.ledger.fix(rows, "vocabulary of an embedding")
    call.ledger.produces(columns)
    return [(*call.axes("indices"), columns)]


def embedding_bag(call: Call) -> Sequence[Axes]:
    """Rows are picked and summed, averaged or compared, each column for itself."""
    rows, columns = call.axes("weight")
    call.ledger.fix(rows, "vocabulary of an embedding")
    call.ledger.produces(columns)
    bags, *rest = call.outputs
    return [(*fixed(bags.shape[:1]), columns), *(fixed(output.shape) for output in rest)]


def index_select(call: Call) -> Sequence[Axes]:
    """One axis is picked from, the others pass."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    call.ledger.fix(axes[dim], PICKED)
    axes[dim] = fixed([call.outputs[0].shape[dim]])[0]
    return [tuple(axes)]


def gathered(call: Call) -> Sequence[Axes]:
    """gather, scatter: along one axis by position; along the others index, source and tensor lie on each other."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    call.ledger.fix(axes[dim], PICKED)
    gives = call.op._schema.name == "aten::gather"
    axes[dim] = fixed([call.outputs[0].shape[dim]])[0]
    for name in ("index", "src"):
        other = call.arguments.get(name)
        if not isinstance(other, torch.Tensor):
            continue
        for axis, labels in enumerate(call.labels(other)):
            if axis == dim:
                call.ledger.fix(labels, PICKED)
            elif labels.size == axes[axis].size:
                call.ledger.tie(axes[axis], labels)
            else:  # a shorter index reaches only the first positions
                call.ledger.fix(axes[axis], PICKED)
                call.ledger.fix(labels, PICKED)
                axes[axis] = fixed([call.outputs[0].shape[axis]])[0] if gives else axes[axis]
    return [tuple(axes)]


def placed(call: Call) -> Sequence[Axes]:
    """index_add, index_copy, index_fill: along one axis by position; along the others source and tensor are tied."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    call.ledger.fix(axes[dim], PICKED)
    axes[dim] = fixed([axes[dim].size])[0]
    source = call.arguments.get("source")
    if isinstance(source, torch.Tensor):
        for axis, labels in enumerate(call.labels(source)):
            if axis == dim:
                call.ledger.fix(labels, PICKED)
            else:
                call.ledger.tie(axes[axis], labels)
    return [tuple(axes)]


def packed(call: Call) -> Sequence[Axes]:
    """_pack_padded_sequence: the steps of all sequences, one after the other; the features pass."""
    axes = call.axes("input")
    for labels in axes[:2]:
        call.ledger.fix(labels, "steps and sequences that are packed")
    steps, sizes = call.outputs
    return [(*fixed(steps.shape[:1]), *axes[2:]), fixed(sizes.shape)]


def index(call: Call) -> Sequence[Axes]:
    """`x[i]`, `x[mask]`, `x[:, i, j]`: the axes under the tables are fixed, the others pass."""
    return [_picked(call)]


def index_put(call: Call) -> Sequence[Axes]:
    """`x[i] = y`: the values lie on `x[i]`. `x[x < 0] = 0` chooses by value, position for position."""
    first, *rest = call["indices"]
    if not rest and first is not None and first.dtype is torch.bool and call["values"].numel() == 1:
        chosen = list(call.axes("self"))
        for place, labels in enumerate(call.labels(first)):
            chosen[place] = call.ledger.tie(chosen[place], labels)
        return [tuple(chosen)]
    axes = _picked(call)
    broadcast(call, [axes, call.axes("values")], [labels.size for labels in axes])
    return [call.axes("self")]


def _picked(call: Call) -> Axes:
    """The axes of `x[i]`; where tables have other axes between them, what they pick moves to the front."""
    axes = call.axes("self")
    covered: list[int] = []
    shapes: list[Sequence[int]] = []
    axis = 0
    for table in call["indices"]:
        mask = table is not None and table.dtype in (torch.bool, torch.uint8)
        spans = table.dim() if mask else 1
        if table is not None:
            covered += range(axis, axis + spans)
            shapes.append([int(table.count_nonzero())] if mask else table.shape)
        axis += spans
    for labels in (
        *(axes[place] for place in covered),
        *(x for table in call["indices"] if table is not None for x in call.labels(table)),
    ):
        call.ledger.fix(labels, PICKED)
    others = [labels for place, labels in enumerate(axes) if place not in covered]
    ahead = covered[0] if covered == list(range(covered[0], covered[-1] + 1)) else 0
    return (*others[:ahead], *fixed(np.broadcast_shapes(*shapes)), *others[ahead:])


def chosen(call: Call) -> Sequence[Axes]:
    """nonzero, masked_select: which positions come out is told by values."""
    for tensor in call.tensors():
        for labels in call.labels(tensor):
            call.ledger.fix(labels, "positions chosen by value")
    return [fixed(output.shape) for output in call.outputs]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten::masked_select", "aten::nonzero"), chosen),
    "aten::embedding": embedding,
    **dict.fromkeys(("aten::_embedding_bag", "aten::_embedding_bag_forward_only"), embedding_bag),
    **dict.fromkeys(("aten::index", "aten::_unsafe_index"), index),
    **dict.fromkeys(("aten::index_put", "aten::_unsafe_index_put", "aten::_index_put_impl"), index_put),
    "aten::index_select": index_select,
    "aten::_pack_padded_sequence": packed,
    **dict.fromkeys(("aten::index_add", "aten::index_copy", "aten::index_fill"), placed),
    **dict.fromkeys(("aten::gather", "aten::scatter", "aten::scatter_add", "aten::scatter_reduce"), gathered),
}

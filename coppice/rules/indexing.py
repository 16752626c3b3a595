"""Picking by index tensors: the indexed axis is fixed, because the index counts positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from coppice.channels import Axes
from coppice.tracing.call import Call, Rule, fixed
from coppice.tracing.tracer import refuse


def embedding(call: Call) -> Sequence[Axes]:
    """Rows are picked by token; the columns are channels."""
    rows, columns = call.axes("weight")
    call.ledger.fix(rows, "vocabulary of an embedding")
    call.ledger.produces(columns)
    return [(*call.axes("indices"), columns)]


def index_select(call: Call) -> Sequence[Axes]:
    """One axis is picked from, the others pass."""
    axes = list(call.axes("self"))
    dim = call["dim"] % len(axes)
    call.ledger.fix(axes[dim], "picked by position")
    axes[dim] = fixed([call.outputs[0].shape[dim]])[0]
    return [tuple(axes)]


def index(call: Call) -> Sequence[Axes]:
    """`x[i]` with one table of positions passes the other axes; masks and several tables fix everything."""
    tables = [(axis, picked) for axis, picked in enumerate(call["indices"]) if picked is not None]
    if len(tables) != 1 or tables[0][1].dtype not in (torch.int32, torch.int64):
        return refuse(call)
    ((dim, table),) = tables
    axes = call.axes("self")
    call.ledger.fix(axes[dim], "picked by position")
    return [(*axes[:dim], *fixed(table.shape), *axes[dim + 1 :])]


RULES: dict[str, Rule] = {
    "aten::embedding": embedding,
    "aten::index": index,
    "aten::index_select": index_select,
}

"""LSTM, GRU and RNN, step by step. The hidden width is read from the tensors; the node's own number follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text

Function = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]

_FUNCTIONS: dict[str, Function] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softsign": torch.nn.functional.softsign,
    "hardsigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The recurrence of one direction: its weights, its bias, and the functions in the order that ONNX names them."""

    weight: Tensor
    bias: Tensor | None
    functions: list[Function]
    #: GRU: whether the reset gate is applied behind the product, not before it.
    reset_last: bool

    def hidden(self, h: Tensor) -> Tensor:
        """What the state gives to every gate."""
        product = h @ self.weight.t()
        return product if self.bias is None else product + self.bias


#: One step: the cell, what the input gives to the gates, the state -> the next state, its first part the output.
Step = Callable[[Cell, Tensor, State], State]


def _lstm(cell: Cell, given: Tensor, state: State) -> State:
    """Gates in the order input, output, forget, cell."""
    gate, candidate, output = cell.functions
    h, c = state
    i, o, f, g = (given + cell.hidden(h)).chunk(4, -1)
    c = gate(f) * c + gate(i) * candidate(g)
    return gate(o) * output(c), c


def _gru(cell: Cell, given: Tensor, state: State) -> State:
    """Gates in the order update, reset, hidden."""
    gate, candidate = cell.functions
    (h,) = state
    xz, xr, xh = given.chunk(3, -1)
    rz, rr, rh = cell.weight.chunk(3, 0)
    bz, br, bh = cell.bias.chunk(3) if cell.bias is not None else (0.0, 0.0, 0.0)
    z, reset = gate(xz + h @ rz.t() + bz), gate(xr + h @ rr.t() + br)
    inner = reset * (h @ rh.t() + bh) if cell.reset_last else (reset * h) @ rh.t() + bh
    return (z * h + (1 - z) * candidate(xh + inner),)


def _rnn(cell: Cell, given: Tensor, state: State) -> State:
    return (cell.functions[0](given + cell.hidden(state[0])),)


#: Operator -> its step, and the functions that it has where the node names none.
_CELLS: dict[str, tuple[Step, list[str]]] = {
    "LSTM": (_lstm, ["sigmoid", "tanh", "tanh"]),
    "GRU": (_gru, ["sigmoid", "tanh"]),
    "RNN": (_rnn, ["tanh"]),
}


@operator(*_CELLS)
def recurrent(
    node: OnnxNode,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    *initial: Tensor | None,
) -> Any:
    """Every direction through every step; (Y, Y_h, ...) as ONNX lays them out."""
    step, defaults = _CELLS[node.class_name]
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
        text(node.attribute("direction", "forward"))
    ]
    functions = _functions(node, defaults, len(directions))
    parts = 2 if node.class_name == "LSTM" else 1  # of the state
    if node.attribute("clip") or node.attribute("input_forget", 0) or any(one is not None for one in initial[parts:]):
        raise NotComputed("clips, couples its gates or has peepholes")
    begin = [*initial, *[None] * parts][:parts]
    if node.attribute("layout", 0):
        x, begin = x.transpose(0, 1), [None if state is None else state.transpose(0, 1) for state in begin]
    if lengths is not None and bool((lengths != x.shape[0]).any()):
        raise NotComputed("reads sequences of different lengths")
    node.stated["hidden_size"] = width = r.shape[-1]
    results, ends = [], []
    for number, backwards in enumerate(directions):
        biases = b[number].chunk(2) if b is not None else (None, None)
        cell = Cell(
            weight=r[number],
            bias=biases[1],
            functions=functions[number],
            reset_last=bool(node.attribute("linear_before_reset", 0)),
        )
        given = x @ w[number].t()
        given = given if biases[0] is None else given + biases[0]
        zeros = torch.zeros((x.shape[1], width), dtype=x.dtype, device=x.device)
        state: State = tuple(zeros if one is None else one[number] for one in begin)
        outputs = []
        for one in reversed(given.unbind(0)) if backwards else given.unbind(0):
            state = step(cell, one, state)
            outputs.append(state[0])
        results.append(torch.stack(outputs[::-1] if backwards else outputs))
        ends.append(state)
    y = torch.stack(results, 1)
    last = [torch.stack(states) for states in zip(*ends, strict=True)]
    if node.attribute("layout", 0):
        y, last = y.permute(2, 0, 1, 3), [state.transpose(0, 1) for state in last]
    return (y, *last)[: node.wanted]


def _functions(node: OnnxNode, defaults: list[str], directions: int) -> list[list[Function]]:
    names = [text(name).lower() for name in node.attribute("activations") or defaults * directions]
    if node.attribute("activation_alpha") or node.attribute("activation_beta") or set(names) - set(_FUNCTIONS):
        raise NotComputed(f"has the activations {', '.join(names)}")
    each = len(defaults)
    return [[_FUNCTIONS[name] for name in names[i * each : (i + 1) * each]] for i in range(directions)]

"""LSTM, GRU and RNN, step by step. The hidden width is read from the tensors; the node's own number follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text

Function = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
#: One step: what the input gives already, the state, and the weights of the recurrence -> the next state.
Step = Callable[[Tensor, State], State]

_FUNCTIONS: dict[str, Function] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softsign": torch.nn.functional.softsign,
    "hardsigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
}


@operator("LSTM")
def lstm(
    node: OnnxNode,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> Any:
    """Gates in the order input, output, forget, cell."""
    if peepholes is not None or node.attribute("input_forget", 0):
        raise _unsupported(node, "peepholes or coupled gates")

    def step_of(recurrent: Tensor, bias: Tensor | None, functions: list[Function]) -> Step:
        gate, candidate, output = functions

        def step(given: Tensor, state: State) -> State:
            h, c = state
            i, o, f, g = (given + h @ recurrent.t() + _recurrent_bias(bias)).chunk(4, -1)
            c = gate(f) * c + gate(i) * candidate(g)
            return gate(o) * output(c), c

        return step

    return _run(node, x, w, r, b, lengths, (h0, c0), step_of, ["sigmoid", "tanh", "tanh"])


@operator("GRU")
def gru(
    node: OnnxNode,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
) -> Any:
    """Gates in the order update, reset, hidden."""
    after = node.attribute("linear_before_reset", 0)

    def step_of(recurrent: Tensor, bias: Tensor | None, functions: list[Function]) -> Step:
        gate, candidate = functions

        def step(given: Tensor, state: State) -> State:
            (h,) = state
            xz, xr, xh = given.chunk(3, -1)
            rz, rr, rh = recurrent.chunk(3, 0)
            bz, br, bh = bias.chunk(3) if bias is not None else (0.0, 0.0, 0.0)
            z, reset = gate(xz + h @ rz.t() + bz), gate(xr + h @ rr.t() + br)
            inner = reset * (h @ rh.t() + bh) if after else (reset * h) @ rh.t() + bh
            return (z * h + (1 - z) * candidate(xh + inner),)

        return step

    return _run(node, x, w, r, b, lengths, (h0,), step_of, ["sigmoid", "tanh"])


@operator("RNN")
def rnn(
    node: OnnxNode,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
) -> Any:
    """The plain recurrence."""

    def step_of(recurrent: Tensor, bias: Tensor | None, functions: list[Function]) -> Step:
        return lambda given, state: (functions[0](given + state[0] @ recurrent.t() + _recurrent_bias(bias)),)

    return _run(node, x, w, r, b, lengths, (h0,), step_of, ["tanh"])


def _run(
    node: OnnxNode,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    initial: tuple[Tensor | None, ...],
    step_of: Callable[[Tensor, Tensor | None, list[Function]], Step],
    defaults: list[str],
) -> Any:
    """Every direction through every step; (Y, Y_h, ...) as ONNX lays them out."""
    if node.attribute("clip"):
        raise _unsupported(node, "clipping")
    if node.attribute("layout", 0):
        x = x.transpose(0, 1)
        initial = tuple(None if state is None else state.transpose(0, 1) for state in initial)
    if lengths is not None and bool((lengths != x.shape[0]).any()):
        raise _unsupported(node, "sequences of different lengths")
    node.stated["hidden_size"] = width = r.shape[-1]
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
        text(node.attribute("direction", "forward"))
    ]
    functions = _functions(node, defaults, len(directions))
    results, ends = [], []
    for number, backwards in enumerate(directions):
        biases = b[number].chunk(2) if b is not None else (None, None)
        step = step_of(r[number], biases[1], functions[number])
        given = x @ w[number].t()
        given = given if biases[0] is None else given + biases[0]
        zeros = torch.zeros((x.shape[1], width), dtype=x.dtype, device=x.device)
        state: State = tuple(zeros if one is None else one[number] for one in initial)
        outputs = []
        for one in reversed(given.unbind(0)) if backwards else given.unbind(0):
            state = step(one, state)
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
        raise _unsupported(node, f"the activations {', '.join(names)}")
    each = len(defaults)
    return [[_FUNCTIONS[name] for name in names[i * each : (i + 1) * each]] for i in range(directions)]


def _recurrent_bias(bias: Tensor | None) -> Tensor | float:
    return 0.0 if bias is None else bias


def _unsupported(node: OnnxNode, what: str) -> UnsupportedLayer:
    return UnsupportedLayer(
        f"node {node.layer_name!r} ({node.class_name}) uses {what}, which isn't computed here.", field=node.layer_name
    )

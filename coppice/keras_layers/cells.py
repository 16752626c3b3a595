"""Cells: what recurrent layers compute in one step.

Gates are equal pieces of one product, so that position i of every gate is one unit by itself. A state of None is a
state of zeros that needs no arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coppice.keras_layers.activation import activated
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer

States = tuple[Tensor | None, ...]
#: `step(cell, projected, states)`: `projected` is one step's input times the kernel, plus the input's bias.
Step = Callable[[KerasLayer, Tensor, States], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of cell; its step gives the new states, the output first."""

    step: Step
    states: int


def variables(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    """The arrays of a cell, or of the layer that is one cell run along time."""
    kernels = ("kernel", "recurrent_kernel")
    return (*kernels, "bias") if config.get("use_bias", True) else kernels


def units(layer: KerasLayer, _shapes: Any) -> dict[str, Any]:
    """What a configuration says of the width of the states."""
    return {"units": layer.array("recurrent_kernel").shape[-2]}


def project(cell: KerasLayer, x: Tensor) -> Tensor:
    """The part of a step that looks at the input alone, of one step or of all."""
    product = x @ cell.array("kernel")
    bias = cell.optional("bias")
    if bias is None:
        return product
    return product + (bias if bias.dim() == 1 else bias[0])


def _gate(cell: KerasLayer, x: Tensor) -> Tensor:
    return activated(cell, x, "recurrent_activation", "sigmoid")


def _candidate(cell: KerasLayer, x: Tensor) -> Tensor:
    return activated(cell, x, "activation", "tanh")


def _simple(cell: KerasLayer, projected: Tensor, states: States) -> tuple[Tensor, ...]:
    (h,) = states
    return (_candidate(cell, projected if h is None else projected + h @ cell.array("recurrent_kernel")),)


def _lstm(cell: KerasLayer, projected: Tensor, states: States) -> tuple[Tensor, ...]:
    h, _ = states
    bias = cell.optional("bias")
    if bias is not None and bias.dim() > 1:  # that of a CuDNNLSTM, which has one for each product
        projected = projected + bias[1]
    return lstm_gates(cell, projected if h is None else projected + h @ cell.array("recurrent_kernel"), states, -1)


def lstm_gates(cell: KerasLayer, z: Tensor, states: States, axis: int) -> tuple[Tensor, ...]:
    """Output and memory from the sums of the four gates, which lie along `axis`: input, forget, memory, output."""
    _, c = states
    into, forget, memory, out = z.chunk(4, axis)
    new = _gate(cell, into) * _candidate(cell, memory)
    if c is not None:
        new = _gate(cell, forget) * c + new
    return _gate(cell, out) * _candidate(cell, new), new


def _gru(cell: KerasLayer, projected: Tensor, states: States) -> tuple[Tensor, ...]:
    """Update, reset and candidate. Whether the reset comes before or after the product is an option of its own."""
    (h,) = states
    x_update, x_reset, x_new = projected.chunk(3, -1)
    if resets_after(cell):
        inner = _inner(cell, h)
        if inner is None:
            return ((1 - _gate(cell, x_update)) * _candidate(cell, x_new),)
        update, reset, new = inner.chunk(3, -1)
        z = _gate(cell, x_update + update)
        candidate = _candidate(cell, x_new + _gate(cell, x_reset + reset) * new)
    elif h is None:
        z, candidate = _gate(cell, x_update), _candidate(cell, x_new)
    else:
        update, reset, new = cell.array("recurrent_kernel").chunk(3, -1)
        z = _gate(cell, x_update + h @ update)
        candidate = _candidate(cell, x_new + (_gate(cell, x_reset + h @ reset) * h) @ new)
    kept = (1 - z) * candidate
    return (kept if h is None else z * h + kept,)


def _inner(cell: KerasLayer, h: Tensor | None) -> Tensor | None:
    """The recurrent sums of a GRU that resets after them, with their own bias."""
    bias = cell.optional("bias")
    if h is None:
        return None if bias is None else bias[1]
    product = h @ cell.array("recurrent_kernel")
    return product if bias is None else product + bias[1]


def resets_after(cell: KerasLayer) -> bool:
    """Whether a GRU resets after the product; unsaid before Keras 2.1.3, when there was but the other way."""
    return bool(cell.config.get("reset_after", cell.class_name == "CuDNNGRU"))


_SIMPLE, _LSTM, _GRU = Cell(step=_simple, states=1), Cell(step=_lstm, states=2), Cell(step=_gru, states=1)

#: By the class that holds the arrays: a cell of its own, or a layer that is one.
CELLS: dict[str, Cell] = {
    "SimpleRNN": _SIMPLE,
    "SimpleRNNCell": _SIMPLE,
    "LSTM": _LSTM,
    "CuDNNLSTM": _LSTM,
    "LSTMCell": _LSTM,
    "GRU": _GRU,
    "CuDNNGRU": _GRU,
    "GRUCell": _GRU,
}


def states_of(cells: Sequence[KerasLayer]) -> int:
    """How many states cells on top of each other have together."""
    return sum(CELLS[cell.class_name].states for cell in cells)


def advance(cells: Sequence[KerasLayer], projected: Tensor, states: States) -> tuple[Tensor, States]:
    """One step of cells on top of each other: the output of the last, and the states of all."""
    after: list[Tensor] = []
    output = projected
    for number, cell in enumerate(cells):
        kind, done = CELLS[cell.class_name], len(after)
        given = project(cell, output) if number else projected
        new = kind.step(cell, given, states[done : done + kind.states])
        output = new[0]
        after += new
    return output, tuple(after)


def held(new: Tensor, old: Tensor | None, real: Tensor | None) -> Tensor:
    """The new value where a step is real, the old one (zero where there is none) where it isn't."""
    if real is None:
        return new
    where = real.reshape(-1, *(1,) * (new.dim() - 1))
    return torch.where(where, new, torch.zeros_like(new) if old is None else old)

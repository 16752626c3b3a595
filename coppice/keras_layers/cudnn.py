"""CuDNNLSTM and CuDNNGRU of Keras 2.0.9 to TensorFlow 1: LSTM and GRU in the layout of a graphics library.

Keras itself loads their arrays into an LSTM or GRU (`_convert_rnn_weights`); this is that conversion, there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from coppice.keras_layers.cells import units
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import passed_with_sequences
from coppice.keras_layers.recurrent import recurrent
from coppice.keras_layers.table import Layout, keras_layer


def _variables(_config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    return ("kernel", "recurrent_kernel", "bias")


def _by_gate(kernel: Tensor, gates: int, change: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([change(block) for block in kernel.chunk(gates, dim=1)], dim=1)


def _transposed(block: Tensor) -> Tensor:
    return block.t()


def _read(variable: str, array: Tensor, *, gates: int) -> Tensor:
    if variable == "bias":  # one for the product with the input, one for that with the state
        return array.reshape(2, -1)
    if variable == "recurrent_kernel":
        return _by_gate(array, gates, _transposed)
    # The numbers of a block lie as (units, in), whatever shape the block says it has.
    return _by_gate(array, gates, lambda block: block.reshape(block.shape[::-1]).t())


def _write(variable: str, array: Tensor, *, gates: int) -> Tensor:
    if variable == "bias":
        return array.reshape(-1)
    if variable == "recurrent_kernel":
        return _by_gate(array, gates, _transposed)
    return _by_gate(array, gates, lambda block: block.t().reshape(block.shape))


def _layout(gates: int) -> Layout:
    return Layout(read=partial(_read, gates=gates), write=partial(_write, gates=gates))


@keras_layer("CuDNNLSTM", variables=_variables, sizes=units, masks=passed_with_sequences, layout=_layout(4))
def cudnn_lstm(layer: KerasLayer, inputs: Any, **named: Any) -> Any:
    """An LSTM with two biases, sigmoid and tanh."""
    return recurrent(layer, inputs, **named)


@keras_layer("CuDNNGRU", variables=_variables, sizes=units, masks=passed_with_sequences, layout=_layout(3))
def cudnn_gru(layer: KerasLayer, inputs: Any, **named: Any) -> Any:
    """A GRU that resets after the product, sigmoid and tanh."""
    return recurrent(layer, inputs, **named)

"""Recurrent layers whose cell convolves: ConvLSTM1D, 2D and 3D."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from coppice.keras_layers.cells import States, lstm_gates, variables
from coppice.keras_layers.convolution import CONVOLUTION, torch_layout
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, passed_with_sequences
from coppice.keras_layers.padding import (
    Window,
    amounts,
    is_channels_first,
    same_amounts,
    split_padding,
    to_channels_first,
    to_own_order,
    window_of,
)
from coppice.keras_layers.recurrent import ZEROED, run, sequence_and_states
from coppice.keras_layers.table import keras_layer


@keras_layer(
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    variables=variables,
    sizes=lambda layer, _shapes: {"filters": layer.array("recurrent_kernel").shape[-2]},
    masks=passed_with_sequences,
    groups=("cell",),
)
def convolutional_lstm(layer: KerasLayer, inputs: Any, **named: Any) -> Any:
    """An LSTM whose products are convolutions; that of the states keeps their size and has strides of 1."""
    sequence, states = sequence_and_states(layer, inputs, named.get("initial_state"), 2)
    samples, steps = sequence.shape[:2]
    images = _of_input(layer, sequence.reshape(samples * steps, *sequence.shape[2:]))
    axis = 1 if is_channels_first(layer) else -1

    def go(projected: Tensor, before: States) -> tuple[Tensor, States]:
        h = before[0]
        after = lstm_gates(layer, projected if h is None else projected + _of_state(layer, h), before, axis)
        return after[0], after

    zeroed = bool(named.get(ZEROED, layer.config.get(ZEROED)))
    projected = images.reshape(samples, steps, *images.shape[1:]).unbind(1)
    return run(layer, projected, mask_of(sequence), states, go, zeroed=zeroed)


def _of_input(layer: KerasLayer, x: Tensor) -> Tensor:
    kernel = layer.array("kernel")
    window = window_of(layer, tuple(kernel.shape[:-2]))
    channels_first = to_channels_first(layer, x)
    padded, padding = split_padding(channels_first, amounts(layer, window, tuple(channels_first.shape[2:])))
    convolution = CONVOLUTION[kernel.dim() - 2]
    y = convolution(padded, torch_layout(kernel), layer.optional("bias"), window.strides, padding, window.dilation)
    return to_own_order(layer, y)


def _of_state(layer: KerasLayer, h: Tensor) -> Tensor:
    kernel = layer.array("recurrent_kernel")
    size = tuple(kernel.shape[:-2])
    window = Window(size, (1,) * len(size), (1,) * len(size))
    channels_first = to_channels_first(layer, h)
    padded, padding = split_padding(channels_first, same_amounts(window, tuple(channels_first.shape[2:])))
    y = CONVOLUTION[len(size)](padded, torch_layout(kernel), None, 1, padding)
    return to_own_order(layer, y)

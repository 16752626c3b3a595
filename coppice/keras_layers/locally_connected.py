"""Locally connected layers: convolutions with a kernel of its own at every position. Up to TensorFlow 2.15.

The layer's `implementation` is also how its kernel is laid out: 1 has one matrix a position, 2 has every weight from
every place to every place, most of them unused; the third, a list of the used ones, holds no axis that could be cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.activation import activated
from coppice.keras_layers.configuration import whole
from coppice.keras_layers.convolution import kernel_and_bias
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.padding import is_channels_first
from coppice.keras_layers.table import keras_layer


@keras_layer(
    "LocallyConnected1D",
    "LocallyConnected2D",
    variables=kernel_and_bias,
    sizes=lambda layer, _shapes: {"filters": layer.array("kernel").shape[-1]},
)
def locally_connected(layer: KerasLayer, x: Tensor) -> Tensor:
    """A matrix for the window at every position; the bias has one value per position and filter, too."""
    made = {1: _by_window, 2: _everywhere}.get(int(layer.config.get("implementation", 1)))
    if made is None or is_channels_first(layer):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} ({layer.class_name}) keeps its kernel as a list of weights, or has its "
            "channels first. Build it with implementation=1 and channels last.",
            field=layer.layer_name,
        )
    rank = x.dim() - 2
    size, strides = whole(layer.config, "kernel_size", rank), whole(layer.config, "strides", rank)
    y, bias = made(layer, x, size, strides), layer.optional("bias")
    return activated(layer, y if bias is None else y + bias)


def _by_window(layer: KerasLayer, x: Tensor, size: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Kernel (positions, window * in, filters)."""
    rank = len(size)
    windows = x
    for axis, (extent, step) in enumerate(zip(size, strides, strict=True), start=1):
        windows = windows.unfold(axis, extent, step)
    # (samples, positions..., in, window...) as (positions..., samples, window..., in)
    places = list(range(1, rank + 1))
    moved = windows.permute(*places, 0, *range(rank + 2, 2 * rank + 2), rank + 1)
    shape = moved.shape[:rank]
    y = moved.reshape(math.prod(shape), x.shape[0], -1) @ layer.array("kernel")
    return y.reshape(*shape, *y.shape[1:]).permute(rank, *range(rank), rank + 1)


def _everywhere(layer: KerasLayer, x: Tensor, size: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Kernel (places..., in, positions..., filters); what lies outside of a position's window doesn't count."""
    kernel, rank = layer.array("kernel"), len(size)
    places, positions = tuple(kernel.shape[:rank]), tuple(kernel.shape[rank + 1 : -1])
    for axis in range(rank):
        inside = _inside(layer, places[axis], positions[axis], size[axis], strides[axis])
        spread = [1] * kernel.dim()
        spread[axis], spread[rank + 1 + axis] = inside.shape
        kernel = kernel * inside.to(kernel).reshape(spread)
    matrix = kernel.reshape(math.prod(kernel.shape[: rank + 1]), -1)
    return (x.reshape(x.shape[0], -1) @ matrix).reshape(x.shape[0], *positions, kernel.shape[-1])


def _inside(layer: KerasLayer, places: int, positions: int, size: int, stride: int) -> Tensor:
    """Which places each position of one axis sees, as Keras' conv_connected_inputs has it."""
    before = size // 2
    centre = torch.arange(positions) * stride + (before if layer.config.get("padding", "valid") == "valid" else 0)
    place = torch.arange(places).unsqueeze(1)
    return (place >= centre - before) & (place < centre - before + size)

"""Pooling. Padded positions never win a maximum and never count in an average."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.configuration import whole
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of
from coppice.keras_layers.padding import (
    Window,
    amounts,
    is_channels_first,
    split_padding,
    to_channels_first,
    to_own_order,
    window_of,
)
from coppice.keras_layers.table import keras_layer

_MAXIMUM = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _pool_window(layer: KerasLayer, rank: int) -> Window:
    # Keras 1 called the 1-D one pool_length; its files are refused before this.
    return window_of(layer, whole(layer.config, "pool_size", rank, 2))


@keras_layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D")
def maximum_pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """The largest value of each window."""
    channels_first = to_channels_first(layer, x)
    window = _pool_window(layer, x.dim() - 2)
    around = amounts(layer, window, tuple(channels_first.shape[2:]))
    padded, padding = split_padding(channels_first, around, value=float("-inf"))
    return to_own_order(layer, _MAXIMUM[x.dim() - 2](padded, window.size, window.strides, padding))


@keras_layer("AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D")
def average_pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """The mean of the real positions of each window."""
    channels_first = to_channels_first(layer, x)
    window = _pool_window(layer, x.dim() - 2)
    around = amounts(layer, window, tuple(channels_first.shape[2:]))
    padded, padding = split_padding(channels_first, around)
    mean = _average(padded, window, padding)
    if padded is not channels_first:
        # The zeros that were added here were counted; a tensor of ones tells what share was real.
        real, _ = split_padding(channels_first.new_ones((1, 1, *channels_first.shape[2:])), around)
        mean = mean / _average(real, window, padding)
    return to_own_order(layer, mean)


def _average(x: Tensor, window: Window, padding: tuple[int, ...]) -> Tensor:
    if x.dim() == 3:
        return F.avg_pool1d(x, window.size, window.strides, padding, count_include_pad=False)
    if x.dim() == 4:
        return F.avg_pool2d(x, window.size, window.strides, padding, count_include_pad=False)
    return F.avg_pool3d(x, window.size, window.strides, padding, count_include_pad=False)


_ADAPTIVE: dict[str, dict[int, Callable[..., Tensor]]] = {
    "Average": {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d},
    "Max": {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d},
}


@keras_layer(*(f"Adaptive{kind}Pooling{rank}D" for kind in _ADAPTIVE for rank in (1, 2, 3)))
def adaptive_pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """As many windows as the output has positions, as equal as can be."""
    rank = x.dim() - 2
    pool = _ADAPTIVE["Max" if "Max" in layer.class_name else "Average"][rank]
    return to_own_order(layer, pool(to_channels_first(layer, x), whole(layer.config, "output_size", rank)))


def _spatial_axes(layer: KerasLayer, x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim())) if is_channels_first(layer) else tuple(range(1, x.dim() - 1))


@keras_layer("GlobalAveragePooling1D", "GlobalAvgPool1D")
def average_over_time(layer: KerasLayer, x: Tensor) -> Tensor:
    """The mean over all steps, of a masked sequence over its real ones."""
    mask = mask_of(x)
    (steps,), keepdims = _spatial_axes(layer, x), bool(layer.config.get("keepdims", False))
    if mask is None:
        return x.mean(dim=steps, keepdim=keepdims)
    real = mask.to(x.dtype).unsqueeze(1 if is_channels_first(layer) else 2)
    return (x * real).sum(dim=steps, keepdim=keepdims) / real.sum(dim=steps, keepdim=keepdims)


@keras_layer(
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
)
def global_average_pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """The mean over all positions."""
    return x.mean(dim=_spatial_axes(layer, x), keepdim=bool(layer.config.get("keepdims", False)))


@keras_layer(
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
)
def global_maximum_pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """The largest value over all positions."""
    return x.amax(dim=_spatial_axes(layer, x), keepdim=bool(layer.config.get("keepdims", False)))

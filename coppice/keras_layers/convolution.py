"""Convolutions. Kernels stay in Keras' layout (spatial..., in, out) and are permuted where torch needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.activation import activated
from coppice.keras_layers.configuration import plain, rewrapped, whole
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.padding import (
    Window,
    amounts,
    is_channels_first,
    split_padding,
    to_channels_first,
    to_own_order,
    window_of,
)
from coppice.keras_layers.table import Shapes, keras_layer

CONVOLUTION = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def kernel_and_bias(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    """Arrays of layers with one kernel."""
    return ("kernel", "bias") if config.get("use_bias", True) else ("kernel",)


def _depthwise_variables(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    # Keras 3 calls it kernel; the role is what counts here, names in the file are the writer's business.
    return ("depthwise_kernel", "bias") if config.get("use_bias", True) else ("depthwise_kernel",)


def _separable_variables(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    kernels = ("depthwise_kernel", "pointwise_kernel")
    return (*kernels, "bias") if config.get("use_bias", True) else kernels


def _window_size(layer: KerasLayer, kernel: Tensor) -> dict[str, Any]:
    """What a window spans; it can span channels, which a Reshape made a spatial axis, and loses some with them."""
    now = tuple(kernel.shape[:-2])
    if now == whole(layer.config, "kernel_size", len(now)):
        return {}
    return {"kernel_size": rewrapped(layer.config["kernel_size"], now)}


def _convolution_sizes(layer: KerasLayer, shapes: Shapes) -> dict[str, Any]:
    kernel = layer.array("kernel")
    sizes: dict[str, Any] = {"filters": kernel.shape[-1], **_window_size(layer, kernel)}
    if layer.config.get("groups", 1) != 1:
        sizes["groups"] = shapes[0][1 if is_channels_first(layer) else -1] // kernel.shape[-2]
    return sizes


def torch_layout(kernel: Tensor) -> Tensor:
    """(spatial..., in, out) as (out, in, spatial...)."""
    rank = kernel.dim() - 2
    return kernel.permute(rank + 1, rank, *range(rank))


def _depthwise_weight(kernel: Tensor) -> Tensor:
    """(spatial..., in, multiplier) as (in * multiplier, 1, spatial...)."""
    if kernel.shape[-1] == 1:
        return torch_layout(kernel).transpose(0, 1)
    # Taken apart and put together: every filter of a channel goes with it, so the multiplier is no axis to cut.
    filters = torch.stack([single.movedim(-1, 0) for single in kernel.unbind(-1)], dim=1)
    return filters.reshape(filters.shape[0] * filters.shape[1], 1, *filters.shape[2:])


def _convolve(layer: KerasLayer, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Channels-first convolution with Keras' padding; the groups follow from the shapes."""
    window = window_of(layer, tuple(weight.shape[2:]))
    padded, padding = split_padding(x, amounts(layer, window, tuple(x.shape[2:])))
    groups = x.shape[1] // weight.shape[1]
    convolution = CONVOLUTION[weight.dim() - 2]
    return convolution(padded, weight, bias, window.strides, padding, window.dilation, groups)


@keras_layer(
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Convolution1D",
    "Convolution2D",
    "Convolution3D",
    variables=kernel_and_bias,
    sizes=_convolution_sizes,
)
def convolution(layer: KerasLayer, x: Tensor) -> Tensor:
    """Plain, dilated, strided, causal and grouped convolution."""
    weight = torch_layout(layer.array("kernel"))
    y = _convolve(layer, to_channels_first(layer, x), weight, layer.optional("bias"))
    return activated(layer, to_own_order(layer, y))


@keras_layer(
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    variables=_depthwise_variables,
    sizes=lambda layer, _shapes: {
        "depth_multiplier": layer.array("depthwise_kernel").shape[-1],
        **_window_size(layer, layer.array("depthwise_kernel")),
    },
)
def depthwise_convolution(layer: KerasLayer, x: Tensor) -> Tensor:
    """One filter (or `depth_multiplier` of them) per channel."""
    weight = _depthwise_weight(layer.array("depthwise_kernel"))
    y = _convolve(layer, to_channels_first(layer, x), weight, layer.optional("bias"))
    return activated(layer, to_own_order(layer, y))


@keras_layer(
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    variables=_separable_variables,
    sizes=lambda layer, _shapes: {
        "filters": layer.array("pointwise_kernel").shape[-1],
        **_window_size(layer, layer.array("depthwise_kernel")),
    },
)
def separable_convolution(layer: KerasLayer, x: Tensor) -> Tensor:
    """A depthwise convolution, then a 1x1 one; strides and padding belong to the first."""
    spread = _convolve(layer, to_channels_first(layer, x), _depthwise_weight(layer.array("depthwise_kernel")), None)
    pointwise = torch_layout(layer.array("pointwise_kernel"))
    y = CONVOLUTION[pointwise.dim() - 2](spread, pointwise, layer.optional("bias"))
    return activated(layer, to_own_order(layer, y))


@keras_layer(
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Deconvolution2D",
    "Deconvolution3D",
    variables=kernel_and_bias,
    sizes=lambda layer, _shapes: {"filters": layer.array("kernel").shape[-2]},  # (spatial..., out, in)
)
def transposed_convolution(layer: KerasLayer, x: Tensor) -> Tensor:
    """The gradient of a convolution: computed in full, then cropped to the length that Keras states."""
    kernel = layer.array("kernel")
    window = window_of(layer, tuple(kernel.shape[:-2]))
    channels_first = to_channels_first(layer, x)
    lengths = _transposed_lengths(layer, window, tuple(channels_first.shape[2:]))
    full = [
        (size - 1) * stride + extent
        for size, stride, extent in zip(channels_first.shape[2:], window.strides, window.extent, strict=True)
    ]
    same = layer.config.get("padding", "valid") == "same"
    before = [max(whole - length, 0) // 2 if same else 0 for whole, length in zip(full, lengths, strict=True)]
    missing = [max(start + length - whole, 0) for start, length, whole in zip(before, lengths, full, strict=True)]
    y = _TRANSPOSED[len(lengths)](
        channels_first,
        torch_layout(kernel),
        layer.optional("bias"),
        window.strides,
        0,
        tuple(missing),
        1,
        window.dilation,
    )
    for axis, (start, length) in enumerate(zip(before, lengths, strict=True), start=2):
        y = y if y.shape[axis] == length else y.narrow(axis, start, length)
    return activated(layer, to_own_order(layer, y))


def _transposed_lengths(layer: KerasLayer, window: Window, spatial: tuple[int, ...]) -> list[int]:
    """Output lengths as Keras' deconv_output_length gives them."""
    same = layer.config.get("padding", "valid") == "same"
    stated = plain(layer.config.get("output_padding"))
    if stated is None:
        return [
            size * stride + (0 if same else max(extent - stride, 0))
            for size, stride, extent in zip(spatial, window.strides, window.extent, strict=True)
        ]
    extra = whole(layer.config, "output_padding", len(spatial))
    return [
        (size - 1) * stride + extent - (2 * (extent // 2) if same else 0) + more
        for size, stride, extent, more in zip(spatial, window.strides, window.extent, extra, strict=True)
    ]

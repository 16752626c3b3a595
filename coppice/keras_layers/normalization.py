"""Normalizations, with learned or with adapted statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import plain
from coppice.keras_layers.dialect import Dialect, Generation
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import passed, passed_since_keras_3
from coppice.keras_layers.table import keras_layer

#: Keras' `backend.epsilon()`, the floor of a standard deviation that it divides by.
_FLOOR = 1e-7


def _scale_and_shift(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    gamma = ("gamma",) if config.get("scale", True) else ()
    return (*gamma, "beta") if config.get("center", True) else gamma


def _batch_variables(config: Mapping[str, Any], dialect: Dialect) -> tuple[str, ...]:
    if config.get("renorm"):
        raise UnsupportedLayer(
            f"layer {config.get('name')!r} (BatchNormalization) has renorm=True. Build it without.",
            field=config.get("name"),
        )
    return (*_scale_and_shift(config, dialect), "moving_mean", "moving_variance")


def _axes(layer: KerasLayer, default: int = -1) -> list[int]:
    axis = plain(layer.config.get("axis", default))
    return [int(one) for one in axis] if isinstance(axis, list) else [int(axis)]


@keras_layer(
    "BatchNormalization",
    "BatchNormalizationV1",
    "BatchNormalizationV2",
    "SyncBatchNormalization",
    variables=_batch_variables,
    statistics=("moving_mean", "moving_variance"),
    masks=passed,
)
def batch_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Moving statistics in inference, the batch's own in training. Keras' momentum is 1 minus torch's."""
    axis = _axes(layer)[0] % x.dim()
    y = F.batch_norm(
        x.movedim(axis, 1),
        layer.array("moving_mean"),
        layer.array("moving_variance"),
        layer.optional("gamma"),
        layer.optional("beta"),
        training=layer.training,
        momentum=1.0 - float(layer.config.get("momentum", 0.99)),
        eps=float(layer.config.get("epsilon", 1e-3)),
    )
    return y.movedim(1, axis)


def _layer_variables(config: Mapping[str, Any], dialect: Dialect) -> tuple[str, ...]:
    return ("gamma",) if config.get("rms_scaling") else _scale_and_shift(config, dialect)


@keras_layer("LayerNormalization", variables=_layer_variables, masks=passed)
def layer_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Mean and variance over some axes of every sample, the last one as a rule."""
    moved, axes, last = _axes_last(layer, x)
    epsilon = float(layer.config.get("epsilon", 1e-3))
    if layer.config.get("rms_scaling"):
        # In spite of its name, Keras scales by the variance, and shifts nothing.
        variance = moved.var(last, correction=0, keepdim=True)
        y = moved * torch.rsqrt(variance + epsilon) * layer.array("gamma")
    else:
        gamma, beta = layer.optional("gamma"), layer.optional("beta")
        # The array's own shape where there is one: torch's ONNX exporter wants a constant.
        shape = next((array.shape for array in (gamma, beta) if array is not None), moved.shape[last[0] :])
        y = F.layer_norm(moved, shape, gamma, beta, epsilon)
    return y if axes == last else y.movedim(last, axes)


def _axes_last(layer: KerasLayer, x: Tensor) -> tuple[Tensor, list[int], list[int]]:
    """The tensor with the axes that are normalized at the end, where they were, and where they are."""
    axes = sorted(axis % x.dim() for axis in _axes(layer))
    last = list(range(x.dim() - len(axes), x.dim()))
    return x if axes == last else x.movedim(axes, last), axes, last


@keras_layer("RMSNormalization", variables=lambda _config, _dialect: ("scale",), masks=passed)
def rms_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Divided by the root of the mean square over some axes, the last one as a rule."""
    moved, axes, last = _axes_last(layer, x)
    scale = layer.array("scale")
    y = F.rms_norm(moved, scale.shape, scale, float(layer.config.get("epsilon", 1e-6)))
    return y if axes == last else y.movedim(last, axes)


@keras_layer("GroupNormalization", variables=_scale_and_shift, masks=passed)
def group_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Mean and variance over groups of channels; -1 means one channel a group."""
    axis = _axes(layer)[0] % x.dim()
    channels_first = x.movedim(axis, 1)
    stated = int(layer.config.get("groups", 32))
    groups = channels_first.shape[1] if stated == -1 else stated
    epsilon = float(layer.config.get("epsilon", 1e-3))
    y = F.group_norm(channels_first, groups, layer.optional("gamma"), layer.optional("beta"), epsilon)
    return y.movedim(1, axis)


def _adapted_variables(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    return () if config.get("mean") is not None else ("mean", "variance", "count")


@keras_layer(
    "Normalization",
    variables=_adapted_variables,
    statistics=("mean", "variance", "count"),
    masks=passed_since_keras_3,
)
def adapted_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Statistics of the training set, adapted once, or written in the configuration."""
    mean, variance = _statistic(layer, "mean", x), _statistic(layer, "variance", x)
    deviation = torch.clamp(torch.sqrt(variance), min=_FLOOR)
    if layer.config.get("invert"):
        return mean + x * deviation
    return (x - mean) / deviation


def _statistic(layer: KerasLayer, name: str, x: Tensor) -> Tensor:
    """The array, or the constant of the configuration, in a shape that broadcasts along the kept axes."""
    stored = layer.optional(name)
    value = torch.tensor(plain(layer.config[name]), dtype=x.dtype, device=x.device) if stored is None else stored
    if value.dim() == 0 or value.numel() == 1:
        return value.reshape(())
    axis = layer.config.get("axis", -1)
    kept = {one % x.dim() for one in (_axes(layer) if axis is not None else [])}
    return value.reshape([x.shape[one] if one in kept else 1 for one in range(x.dim())])


@keras_layer("Rescaling", masks=passed_since_keras_3)
def rescaling(layer: KerasLayer, x: Tensor) -> Tensor:
    """x * scale + offset; either may be a list along the last axis."""
    scale, offset = plain(layer.config.get("scale", 1.0)), plain(layer.config.get("offset", 0.0))
    if layer.config.get("data_format") == "channels_first" and (isinstance(scale, list) or isinstance(offset, list)):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (Rescaling) has lists along a first channel axis. Scale before the model.",
            field=layer.layer_name,
        )
    return x * _constant(scale, x) + _constant(offset, x)


def _constant(value: Any, x: Tensor) -> Tensor | float:
    return torch.tensor(value, dtype=x.dtype, device=x.device) if isinstance(value, list) else float(value)


@keras_layer("UnitNormalization", masks=passed)
def unit_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Vectors of length 1 along the axes."""
    squares = (x * x).sum(dim=_axes(layer), keepdim=True)
    # Keras 2 and 3 both floor the squared length, by different constants.
    floor = 1e-12 if layer.dialect.generation is not Generation.KERAS_3 else _FLOOR**2
    return x * torch.rsqrt(torch.clamp(squares, min=floor))

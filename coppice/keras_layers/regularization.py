"""Layers that act in training only: dropouts and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.configuration import plain
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import passed
from coppice.keras_layers.padding import is_channels_first
from coppice.keras_layers.table import keras_layer


@keras_layer("ActivityRegularization", "InputLayer", "Identity", masks=passed)
def identity(_layer: KerasLayer, x: Tensor) -> Tensor:
    """Nothing: a term of the loss, or a name for an input."""
    return x


def _real_steps(layer: KerasLayer, x: Tensor) -> Tensor:
    return (x != float(layer.config.get("mask_value", 0.0))).any(dim=-1)


@keras_layer("Masking", masks=_real_steps)
def masking(layer: KerasLayer, x: Tensor) -> Tensor:
    """Steps that hold only the mask's value become zero and are masked."""
    return x * _real_steps(layer, x).unsqueeze(-1).to(x.dtype)


@keras_layer("Dropout", masks=passed)
def dropout(layer: KerasLayer, x: Tensor) -> Tensor:
    """Zeros at random; `noise_shape` names the axes along which one draw serves all."""
    if not layer.training:
        return x
    noise = plain(layer.config.get("noise_shape"))
    if noise is None:
        return F.dropout(x, _rate(layer))
    shape = [size if wanted is None else int(wanted) for size, wanted in zip(x.shape, noise, strict=True)]
    return _masked(layer, x, shape)


@keras_layer("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", masks=passed)
def spatial_dropout(layer: KerasLayer, x: Tensor) -> Tensor:
    """Whole channels dropped."""
    if not layer.training:
        return x
    ones = (1,) * (x.dim() - 2)
    shape = (x.shape[0], x.shape[1], *ones) if is_channels_first(layer) else (x.shape[0], *ones, x.shape[-1])
    return _masked(layer, x, shape)


@keras_layer("AlphaDropout", masks=passed)
def alpha_dropout(layer: KerasLayer, x: Tensor) -> Tensor:
    """Dropout that keeps mean and variance under selu."""
    return F.alpha_dropout(x, _rate(layer), layer.training)


@keras_layer("GaussianDropout", masks=passed)
def gaussian_dropout(layer: KerasLayer, x: Tensor) -> Tensor:
    """Multiplicative noise around 1."""
    if not layer.training:
        return x
    rate = _rate(layer)
    return x * (1.0 + torch.randn_like(x) * math.sqrt(rate / (1.0 - rate)))


@keras_layer("GaussianNoise", masks=passed)
def gaussian_noise(layer: KerasLayer, x: Tensor) -> Tensor:
    """Additive noise around 0."""
    if not layer.training:
        return x
    return x + torch.randn_like(x) * float(layer.config.get("stddev", 0.0))


def _rate(layer: KerasLayer) -> float:
    # Keras 1 called it p.
    config = layer.config
    return float(config["rate"] if "rate" in config else config["p"])


def _masked(layer: KerasLayer, x: Tensor, shape: Sequence[int]) -> Tensor:
    return x * F.dropout(x.new_ones(tuple(shape)), _rate(layer))

"""Layers that only move data: flatten, reshape, permute, pad, crop, enlarge."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import Config, plain, rewrapped, whole
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.padding import is_channels_first, to_channels_first, to_own_order
from coppice.keras_layers.resampling import METHODS, resampled, smart_box
from coppice.keras_layers.reshape import followed
from coppice.keras_layers.table import Shapes, keras_layer


@keras_layer("Flatten")
def flatten(layer: KerasLayer, x: Tensor) -> Tensor:
    """One vector per sample. Channels come last in it, in either data format."""
    ordered = x.movedim(1, x.dim() - 1) if is_channels_first(layer) and x.dim() > 2 else x
    return ordered.reshape(x.shape[0], -1)


def _target(layer: KerasLayer) -> tuple[int, ...]:
    return tuple(int(size) for size in plain(layer.config["target_shape"]))


def _reshape_sizes(layer: KerasLayer, shapes: Shapes) -> Config:
    target, now = _target(layer), shapes[0][1:]
    new = followed(target, layer.built_shapes[0][1:], now)
    kept_open = [was if was == -1 else size for was, size in zip(target, new, strict=True)]
    return {} if tuple(kept_open) == target else {"target_shape": rewrapped(layer.config["target_shape"], kept_open)}


@keras_layer("Reshape", sizes=_reshape_sizes)
def reshape(layer: KerasLayer, x: Tensor) -> Tensor:
    """The configuration's shape; its numbers follow when the input is no longer the one they were written for."""
    was = layer.built_shapes[0][1:] if layer.built_shapes else tuple(x.shape[1:])
    return x.reshape(x.shape[0], *followed(_target(layer), was, tuple(x.shape[1:])))


@keras_layer("Permute")
def permute(layer: KerasLayer, x: Tensor) -> Tensor:
    """Axes in another order; Keras counts from 1 and leaves out the batch."""
    return x.permute(0, *(int(axis) for axis in plain(layer.config["dims"])))


@keras_layer(
    "RepeatVector",
    lengths=("n",),
    sizes=lambda layer, _shapes: {"n": layer.length("n").shape[0]},
)
def repeat_vector(layer: KerasLayer, x: Tensor) -> Tensor:
    """The same vector at every step; steps may be the channels of what comes after a Permute."""
    return x.unsqueeze(1) * layer.length("n").to(x.dtype).unsqueeze(-1)


def _pairs(layer: KerasLayer, key: str, rank: int, default: int) -> list[tuple[int, int]]:
    """One number for all, one per axis, or (before, after) per axis."""
    value = plain(layer.config.get(key, default))
    if isinstance(value, int):
        return [(value, value)] * rank
    if rank == 1 and len(value) == 2 and all(isinstance(amount, int) for amount in value):
        return [(value[0], value[1])]
    pairs = [(one, one) if isinstance(one, int) else tuple(plain(one)) for one in value]
    return [(int(before), int(after)) for before, after in pairs]


@keras_layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(layer: KerasLayer, x: Tensor) -> Tensor:
    """Zeros around the spatial axes."""
    around = _pairs(layer, "padding", x.dim() - 2, 1)
    flat = [amount for pair in reversed(around) for amount in pair]
    return F.pad(x, flat if is_channels_first(layer) else [0, 0, *flat])


@keras_layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(layer: KerasLayer, x: Tensor) -> Tensor:
    """The middle of the spatial axes."""
    first = 2 if is_channels_first(layer) else 1
    for axis, (before, after) in enumerate(_pairs(layer, "cropping", x.dim() - 2, 0), start=first):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


@keras_layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(layer: KerasLayer, x: Tensor) -> Tensor:
    """Every position repeated, or interpolated between pixel centres."""
    factors = whole(layer.config, "size", x.dim() - 2, 2)
    interpolation = layer.config.get("interpolation", "nearest")
    if interpolation == "nearest":
        first = 2 if is_channels_first(layer) else 1
        for axis, factor in enumerate(factors, start=first):
            x = _repeated(x, axis, factor)
        return x
    spatial = to_channels_first(layer, x).shape[2:]
    return _interpolated(layer, x, tuple(size * factor for size, factor in zip(spatial, factors, strict=True)))


@keras_layer("Resizing")
def resizing(layer: KerasLayer, x: Tensor) -> Tensor:
    """Images of another size, of which the proportions may be kept by cutting off the margins."""
    size = (int(layer.config["height"]), int(layer.config["width"]))
    if layer.config.get("pad_to_aspect_ratio") or layer.config.get("antialias"):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (Resizing) pads, or smooths what it shrinks. Resize before the model.",
            field=layer.layer_name,
        )
    if not layer.config.get("crop_to_aspect_ratio"):
        return _interpolated(layer, x, size)
    first = to_channels_first(layer, x)
    top, left, height, width = smart_box(first.shape[2], first.shape[3], size)
    return _interpolated(layer, to_own_order(layer, first.narrow(2, top, height).narrow(3, left, width)), size)


def _interpolated(layer: KerasLayer, x: Tensor, size: tuple[int, ...]) -> Tensor:
    method = str(layer.config.get("interpolation", "bilinear"))
    if method not in METHODS or x.dim() != 4:
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} ({layer.class_name}): interpolation={method!r} is none of "
            f"{', '.join(sorted(METHODS))}.",
            field=layer.layer_name,
        )
    last = x.permute(0, 2, 3, 1) if is_channels_first(layer) else x
    y = resampled(last, size, method)
    return y.permute(0, 3, 1, 2) if is_channels_first(layer) else y


def _repeated(x: Tensor, axis: int, factor: int) -> Tensor:
    """Every position of an axis `factor` times in a row, by moving data only."""
    shape = list(x.shape)
    spread = x.unsqueeze(axis + 1).expand(*shape[: axis + 1], factor, *shape[axis + 1 :])
    return spread.reshape(*shape[:axis], shape[axis] * factor, *shape[axis + 1 :])

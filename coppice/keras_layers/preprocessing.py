"""Layers that prepare data: augmentation, which acts in training only, and numbers made of categories."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import plain
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.padding import is_channels_first
from coppice.keras_layers.table import keras_layer


@keras_layer(
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHeight",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomWidth",
    "RandomZoom",
)
def augmentation(_layer: KerasLayer, x: Tensor) -> Tensor:
    """Nothing, outside of training."""
    return x


@keras_layer("CenterCrop", "RandomCrop")
def center_crop(layer: KerasLayer, x: Tensor) -> Tensor:
    """The middle of images that are large enough; others would be resized, by rules that differ between versions."""
    first = x.dim() - 2 if is_channels_first(layer) else x.dim() - 3
    wanted = (int(layer.config["height"]), int(layer.config["width"]))
    sizes = tuple(x.shape[first : first + 2])
    if sizes != wanted and (layer.class_name == "RandomCrop" or sizes[0] < wanted[0] or sizes[1] < wanted[1]):
        raise UnsupportedLayer(f"layer {layer.layer_name!r} ({layer.class_name}) resizes its images.")
    for axis, (size, part) in enumerate(zip(sizes, wanted, strict=True), start=first):
        x = x.narrow(axis, (size - part) // 2, part)
    return x


@keras_layer("CategoryEncoding")
def category_encoding(layer: KerasLayer, x: Tensor, count_weights: Any = None) -> Tensor:
    """A column per category: where it is (one-hot), whether it occurs (multi-hot), or how often (count)."""
    config = layer.config
    categories = config.get("num_tokens") or config.get("max_tokens")
    mode = {"binary": "multi_hot"}.get(str(config.get("output_mode")), str(config.get("output_mode", "multi_hot")))
    if categories is None or mode not in ("one_hot", "multi_hot", "count") or count_weights is not None:
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (CategoryEncoding): mode {mode!r} with {categories} tokens."
        )
    whole = F.one_hot(x.long(), int(categories)).to(torch.get_default_dtype())
    if mode == "one_hot":
        return whole.squeeze(-2) if x.dim() > 1 and x.shape[-1] == 1 else whole
    if x.dim() == 1:
        return whole
    return whole.sum(dim=-2) if mode == "count" else whole.amax(dim=-2)


@keras_layer("Discretization")
def discretization(layer: KerasLayer, x: Tensor) -> Tensor:
    """The number of the bin that a value falls into."""
    bounds = plain(layer.config.get("bin_boundaries") or layer.config.get("bins"))
    if not isinstance(bounds, list) or layer.config.get("output_mode", "int") != "int":
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (Discretization) has bins that are not in its configuration."
        )
    return torch.bucketize(x, torch.tensor(bounds, dtype=x.dtype, device=x.device), right=True)

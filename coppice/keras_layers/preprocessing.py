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
from coppice.keras_layers.resampling import smart_resized
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
    """The middle of images that are large enough; others, and outside of training all of RandomCrop, are resized."""
    size = (int(layer.config["height"]), int(layer.config["width"]))
    last = x.movedim(-3, -1) if is_channels_first(layer) else x
    images = last if last.dim() == 4 else last.unsqueeze(0)
    rows, columns = images.shape[1:3]
    if layer.class_name == "CenterCrop" and rows >= size[0] and columns >= size[1]:
        images = images.narrow(1, (rows - size[0]) // 2, size[0]).narrow(2, (columns - size[1]) // 2, size[1])
    elif (rows, columns) != size:
        if layer.class_name == "RandomCrop" and not (2, 5) <= layer.dialect.release < (3,):
            raise UnsupportedLayer(
                f"layer {layer.layer_name!r} (RandomCrop) leaves images whole or resizes them, by the version of Keras."
                " Take it out of the model: it acts in training only.",
                field=layer.layer_name,
            )
        images = smart_resized(images, size)
    y = images if last.dim() == 4 else images.squeeze(0)
    return y.movedim(-1, -3) if is_channels_first(layer) else y


@keras_layer("CategoryEncoding")
def category_encoding(layer: KerasLayer, x: Tensor, count_weights: Any = None) -> Tensor:
    """A column per category."""
    categories = layer.config.get("num_tokens") or layer.config.get("max_tokens")
    if categories is None or count_weights is not None:
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (CategoryEncoding) has weights, or an open number of tokens. "
            "Build it with num_tokens and call it without weights.",
            field=layer.layer_name,
        )
    return _encoded(layer, x, int(categories), "multi_hot")


def _encoded(layer: KerasLayer, x: Tensor, categories: int, default: str) -> Tensor:
    """Where a category is (one-hot), whether it occurs (multi-hot), how often (count), or the number itself."""
    stated = str(layer.config.get("output_mode") or default)
    mode = {"binary": "multi_hot"}.get(stated, stated)
    if mode == "int":
        return x
    if mode not in ("one_hot", "multi_hot", "count"):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} ({layer.class_name}): {mode!r} is none of one_hot, multi_hot, count.",
            field=layer.layer_name,
        )
    whole = F.one_hot(x.long(), categories).to(torch.get_default_dtype())
    if mode == "one_hot":
        return whole.squeeze(-2) if x.dim() > 1 and x.shape[-1] == 1 else whole
    if x.dim() == 1:
        return whole
    return whole.sum(dim=-2) if mode == "count" else whole.amax(dim=-2)


@keras_layer("IntegerLookup")
def integer_lookup(layer: KerasLayer, x: Tensor) -> Tensor:
    """The place of a number in the vocabulary, behind the places of the mask and of numbers that are not in it."""
    config = layer.config
    unknown, mask = int(config.get("num_oov_indices", 1)), config.get("mask_token")
    if unknown > 1 or config.get("invert") or (mask is not None and config.get("output_mode", "int") != "int"):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (IntegerLookup) inverts, spreads or masks numbers. "
            "Look them up before the model.",
            field=layer.layer_name,
        )
    special = [int(config.get("oov_token", -1))] * unknown
    special = special if mask is None else [int(mask), *special]
    words = [int(word) for word in config["vocabulary"]]
    words = words[len(special) :] if words[: len(special)] == special else words
    same = x.long().unsqueeze(-1) == torch.tensor(words, device=x.device)
    found = same.to(torch.int64).argmax(dim=-1) + len(special)
    placed = torch.where(same.any(dim=-1), found, torch.full_like(found, len(special) - unknown))
    if mask is not None:
        placed = torch.where(x.long() == int(mask), torch.zeros_like(placed), placed)
    total = len(special) + len(words)
    stated = config.get("max_tokens") if config.get("pad_to_max_tokens") else None
    return _encoded(layer, placed, int(stated or total), "int")


@keras_layer("Discretization")
def discretization(layer: KerasLayer, x: Tensor) -> Tensor:
    """The number of the bin that a value falls into."""
    bounds = plain(layer.config.get("bin_boundaries") or layer.config.get("bins"))
    if not isinstance(bounds, list):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (Discretization) has bins that are not in its configuration. "
            "Give bin_boundaries when you build it.",
            field=layer.layer_name,
        )
    bins = torch.bucketize(x, torch.tensor(bounds, dtype=x.dtype, device=x.device), right=True)
    return _encoded(layer, bins, len(bounds) + 1, "int")

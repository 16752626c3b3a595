"""Masks: which steps of a sequence are real and which are filling. They ride on the tensors, as in Keras.

`Embedding(mask_zero=True)` and `Masking` make one, layers in between pass it on, drop it or merge it, and recurrent
layers, attention and averages over time heed it. Which class does what is a column of the table of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coppice.keras_layers.dialect import Generation
from coppice.keras_layers.tree import tensors_in

if TYPE_CHECKING:
    from coppice.keras_layers.layer import KerasLayer

#: From a layer and its inputs: the mask of its results.
MaskRule = Callable[["KerasLayer", Any], Tensor | None]

_ATTRIBUTE = "coppice_mask"


def mask_of(x: Any) -> Tensor | None:
    """The mask that rides on a tensor: true where a step is real."""
    return getattr(x, _ATTRIBUTE, None)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """The tensor carrying that mask and no other; a tensor that carries another one is left as it is."""
    if mask_of(x) is mask:
        return x
    carrier = x.view_as(x)
    if mask is not None:
        setattr(carrier, _ATTRIBUTE, mask.bool())
    return carrier


def dropped(_layer: KerasLayer, _inputs: Any) -> Tensor | None:
    """Of layers that don't know masks: whatever comes after them sees every step."""
    return None


def passed(_layer: KerasLayer, inputs: Any) -> Tensor | None:
    """Of layers that leave the steps where they are: the mask of the first input."""
    tensors = tensors_in(inputs)
    return mask_of(tensors[0]) if tensors else None


def passed_since_keras_3(layer: KerasLayer, inputs: Any) -> Tensor | None:
    """Of layers that learned in Keras 3 to pass masks on."""
    return passed(layer, inputs) if layer.dialect.generation is Generation.KERAS_3 else None


def passed_with_sequences(layer: KerasLayer, inputs: Any) -> Tensor | None:
    """Of recurrent layers: a mask makes sense as long as the result has steps."""
    return passed(layer, inputs) if layer.config.get("return_sequences") else None


def agreed(layer: KerasLayer, inputs: Any) -> Tensor | None:
    """Of sums, products and the like: a step is real where all inputs say so; since Keras 3, where any does."""
    masks = [mask_of(x) for x in tensors_in(inputs)]
    known = [mask for mask in masks if mask is not None]
    if not known or (layer.dialect.generation is Generation.KERAS_3 and len(known) < len(masks)):
        return None
    together = torch.stack(known)
    return together.any(dim=0) if layer.dialect.generation is Generation.KERAS_3 else together.all(dim=0)


def side_by_side(layer: KerasLayer, inputs: Any) -> Tensor | None:
    """Of Concatenate: masks along time are joined, along features they must agree."""
    tensors = tensors_in(inputs)
    if all(mask_of(x) is None for x in tensors):
        return None
    axis = int(layer.config.get("axis", -1)) % tensors[0].dim()
    whole = torch.cat([_spread(x, mask_of(x)) for x in tensors], dim=axis)
    return whole.any(dim=-1) if layer.dialect.generation is Generation.KERAS_3 else whole.all(dim=-1)


def _spread(x: Tensor, mask: Tensor | None) -> Tensor:
    """A mask of the tensor's own shape; all true where there is none."""
    if mask is None:
        return torch.ones(x.shape, dtype=torch.bool, device=x.device)
    while mask.dim() < x.dim():
        mask = mask.unsqueeze(-1)
    return mask.expand(x.shape)

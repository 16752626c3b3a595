"""Layers of several inputs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.configuration import plain
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import agreed, side_by_side
from coppice.keras_layers.table import keras_layer

Pair = Callable[[Tensor, Tensor], Tensor]


def _aligned(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Inputs of one rank. Keras puts missing axes after the batch, where broadcasting would put them before it."""
    rank = max(x.dim() for x in inputs)
    return [x.reshape(x.shape[0], *(1,) * (rank - x.dim()), *x.shape[1:]) if x.dim() < rank else x for x in inputs]


def _merged(pair: Pair) -> Callable[[KerasLayer, Sequence[Tensor]], Tensor]:
    def merge(_layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(pair, _aligned(inputs))

    return merge


_PAIRS: dict[str, Pair] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
}

for _name, _pair in _PAIRS.items():
    keras_layer(_name, masks=agreed)(_merged(_pair))


@keras_layer("Average", masks=agreed)
def average(_layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    """The mean of the inputs."""
    return reduce(torch.add, _aligned(inputs)) / len(inputs)


@keras_layer("CustomScaleLayer", "Custom>CustomScaleLayer")
def scaled_sum(layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    """The first input plus a share of the second, as InceptionResNetV2 of keras.applications adds its branches."""
    return inputs[0] + inputs[1] * float(layer.config["scale"])


@keras_layer("Concatenate", masks=side_by_side)
def concatenate(layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    """Inputs side by side."""
    return torch.cat(list(inputs), dim=int(layer.config.get("axis", -1)))


@keras_layer("Dot")
def dot(layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    """Batched product over one axis of each input; two vectors give one number, not none."""
    left, right = inputs
    axes = plain(layer.config.get("axes", -1))
    first, second = axes if isinstance(axes, list) else (axes, axes)
    first, second = int(first) % left.dim(), int(second) % right.dim()
    if layer.config.get("normalize"):
        left = F.normalize(left, dim=first, eps=1e-6)
        right = F.normalize(right, dim=second, eps=1e-6)
    letters = iter("abcdefghijklm")
    left_axes = ["z", *(next(letters) for _ in range(left.dim() - 1))]
    right_axes = ["z", *(next(letters) for _ in range(right.dim() - 1))]
    right_axes[second] = left_axes[first]
    kept = [a for a in left_axes if a != left_axes[first]] + [a for a in right_axes[1:] if a != left_axes[first]]
    product = torch.einsum(f"{''.join(left_axes)},{''.join(right_axes)}->{''.join(kept)}", left, right)
    return product.unsqueeze(-1) if product.dim() == 1 else product

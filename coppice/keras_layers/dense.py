"""Dense layers, embeddings, and layers that scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.activation import activated
from coppice.keras_layers.configuration import plain, rewrapped
from coppice.keras_layers.contraction import NoPlainProduct, contracted, parse
from coppice.keras_layers.convolution import kernel_and_bias
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import masked, passed
from coppice.keras_layers.table import Shapes, keras_layer


@keras_layer(
    "Dense",
    variables=kernel_and_bias,
    sizes=lambda layer, _shapes: {"units": layer.array("kernel").shape[-1]},
    masks=passed,
)
def dense(layer: KerasLayer, x: Tensor) -> Tensor:
    """A matrix product over the last axis."""
    return activated(layer, F.linear(x, layer.array("kernel").t(), layer.optional("bias")))


def _real_words(layer: KerasLayer, x: Tensor) -> Tensor | None:
    return x != 0 if layer.config.get("mask_zero") else None


@keras_layer(
    "Embedding",
    variables=lambda _config, _dialect: ("embeddings",),
    sizes=lambda layer, _shapes: {"output_dim": layer.array("embeddings").shape[1]},
    masks=_real_words,
)
def embedding(layer: KerasLayer, x: Tensor) -> Tensor:
    """A row per index. Keras 2 hands indices over as floats."""
    return F.embedding(x.long(), layer.array("embeddings"))


def _both_embeddings(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    return ("embeddings",) if config.get("tie_weights", True) else ("embeddings", "reverse_embeddings")


@keras_layer(
    "ReversibleEmbedding",
    variables=_both_embeddings,
    sizes=lambda layer, _shapes: {"output_dim": layer.array("embeddings").shape[1]},
    masks=None,
)
def reversible_embedding(layer: KerasLayer, x: Tensor, reverse: Any = False) -> Tensor:
    """A row per index; in reverse, how much a vector is like each row."""
    if not reverse:
        return masked(F.embedding(x.long(), layer.array("embeddings")), _real_words(layer, x))
    other = layer.optional("reverse_embeddings")
    logits = x @ (layer.array("embeddings").t() if other is None else other)
    cap = layer.config.get("logit_soft_cap")
    return logits if cap is None else torch.tanh(logits / float(cap)) * float(cap)


@keras_layer(
    "LayerScale",
    variables=lambda _config, _dialect: ("gamma",),
    sizes=lambda layer, _shapes: {"projection_dim": layer.array("gamma").shape[0]},
)
def layer_scale(layer: KerasLayer, x: Tensor) -> Tensor:
    """A factor per channel, as ConvNeXt of keras.applications has it."""
    return x * layer.array("gamma")


def _einsum_variables(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    return ("kernel", "bias") if config.get("bias_axes") else ("kernel",)


def _einsum_sizes(layer: KerasLayer, shapes: Shapes) -> dict[str, Any]:
    first, second, result = parse(layer.config["equation"], len(shapes[0]))
    size = {**dict(zip(first, shapes[0], strict=True)), **dict(zip(second, layer.array("kernel").shape, strict=True))}
    stated = plain(layer.config["output_shape"])
    if isinstance(stated, int):
        return {"output_shape": size[result[-1]]}
    new = [None if was is None else size[axis] for was, axis in zip(stated, result[-len(stated) :], strict=True)]
    return {"output_shape": rewrapped(layer.config["output_shape"], new)}


@keras_layer("EinsumDense", variables=_einsum_variables, sizes=_einsum_sizes)
def einsum_dense(layer: KerasLayer, x: Tensor) -> Tensor:
    """A product over the axes that the equation names."""
    try:
        y = contracted(x, layer.array("kernel"), parse(layer.config["equation"], x.dim()))
    except NoPlainProduct as e:
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (EinsumDense) can't be computed: {e}. Write it as Dense layers.",
            field=layer.layer_name,
        ) from e
    bias = layer.optional("bias")
    return activated(layer, y if bias is None else y + bias)

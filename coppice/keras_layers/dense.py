"""Dense layers, embeddings, and layers that scale."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.activation import activated
from coppice.keras_layers.convolution import kernel_and_bias
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.table import keras_layer


@keras_layer(
    "Dense", variables=kernel_and_bias, sizes=lambda layer, _shapes: {"units": layer.array("kernel").shape[-1]}
)
def dense(layer: KerasLayer, x: Tensor) -> Tensor:
    """A matrix product over the last axis."""
    return activated(layer, F.linear(x, layer.array("kernel").t(), layer.optional("bias")))


@keras_layer(
    "Embedding",
    variables=lambda _config, _dialect: ("embeddings",),
    sizes=lambda layer, _shapes: {"output_dim": layer.array("embeddings").shape[1]},
)
def embedding(layer: KerasLayer, x: Tensor) -> Tensor:
    """A row per index. Keras 2 hands indices over as floats."""
    if layer.config.get("mask_zero"):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (Embedding) has mask_zero=True; masks are not computed yet.",
            field=layer.layer_name,
        )
    return F.embedding(x.long(), layer.array("embeddings"))


@keras_layer(
    "LayerScale",
    variables=lambda _config, _dialect: ("gamma",),
    sizes=lambda layer, _shapes: {"projection_dim": layer.array("gamma").shape[0]},
)
def layer_scale(layer: KerasLayer, x: Tensor) -> Tensor:
    """A factor per channel, as ConvNeXt of keras.applications has it."""
    return x * layer.array("gamma")

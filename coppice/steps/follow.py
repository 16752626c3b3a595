"""Which attributes of torch's own layers state a size, and which axis of which tensor they follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from coppice.tracing.network import Resizable


def follow(module: nn.Module) -> None:
    """Bring the sizes that a layer states into agreement with its tensors, in place."""
    if isinstance(module, Resizable):
        module.resized()
        return
    for kind in type(module).__mro__:
        if kind in FOLLOW:
            FOLLOW[kind](module)
            return


def _linear(layer: Any) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _bilinear(layer: Any) -> None:
    layer.out_features, layer.in1_features, layer.in2_features = layer.weight.shape


def _convolution(layer: Any) -> None:
    out, per_group = layer.weight.shape[:2]
    if layer.groups > 1 and layer.in_channels == layer.groups:  # depthwise: whole groups go
        layer.groups = out // (layer.out_channels // layer.groups)
    layer.out_channels, layer.in_channels = out, per_group * layer.groups


def _transposed(layer: Any) -> None:
    into, per_group = layer.weight.shape[:2]
    if layer.groups > 1 and layer.in_channels == layer.groups:
        layer.groups = into
    layer.in_channels, layer.out_channels = into, per_group * layer.groups


def _features(layer: Any) -> None:
    for tensor in (layer.weight, layer.running_mean):
        if tensor is not None:
            layer.num_features = tensor.shape[0]


def _normalized_shape(layer: Any) -> None:
    layer.normalized_shape = tuple(layer.weight.shape)


def _channels(layer: Any) -> None:
    layer.num_channels = layer.weight.shape[0]


def _parameters(layer: Any) -> None:
    layer.num_parameters = layer.weight.shape[0]


def _embedding(layer: Any) -> None:
    layer.num_embeddings, layer.embedding_dim = layer.weight.shape


FOLLOW: dict[type, Callable[[Any], None]] = {
    nn.Linear: _linear,
    nn.Bilinear: _bilinear,
    _ConvNd: _convolution,
    _ConvTransposeNd: _transposed,
    _NormBase: _features,
    nn.LayerNorm: _normalized_shape,
    nn.RMSNorm: _normalized_shape,
    nn.GroupNorm: _channels,
    nn.PReLU: _parameters,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
}

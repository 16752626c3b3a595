"""Which attributes of torch's own layers state a size, and which axis of which tensor they follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from coppice.tracing.network import Resizable


def follow(module: nn.Module) -> None:
    """Bring the sizes that a layer states into agreement with its tensors, in place."""
    if isinstance(module, Resizable):
        module.resized()
        return
    for hook in module._forward_pre_hooks.values():
        for kind, name, compute in _COMPUTED:  # before each forward, and kept as a plain attribute
            if isinstance(hook, kind):
                setattr(module, getattr(hook, name), compute(hook, module).detach())
    for kind in type(module).__mro__:
        if kind in FOLLOW:
            FOLLOW[kind](module)
            return


#: Hooks that compute a tensor of their layer: their class, where they keep its name, how they compute it.
_COMPUTED: tuple[tuple[type, str, Callable[[Any, nn.Module], Tensor]], ...] = (
    (WeightNorm, "name", lambda hook, layer: hook.compute_weight(layer)),
    (SpectralNorm, "name", lambda hook, layer: hook.compute_weight(layer, False)),
    (BasePruningMethod, "_tensor_name", lambda hook, layer: hook.apply_mask(layer)),  # of nn.utils.prune
)


def _linear(layer: Any) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _bilinear(layer: Any) -> None:
    layer.out_features, layer.in1_features, layer.in2_features = layer.weight.shape


def _convolution(layer: Any) -> None:
    out, per_group, *layer.kernel_size = layer.weight.shape
    layer.kernel_size = tuple(layer.kernel_size)
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
    if layer.num_groups == layer.num_channels:  # each channel for itself: whole groups go
        layer.num_groups = layer.weight.shape[0]
    layer.num_channels = layer.weight.shape[0]


def _parameters(layer: Any) -> None:
    layer.num_parameters = layer.weight.shape[0]


def _embedding(layer: Any) -> None:
    layer.num_embeddings, layer.embedding_dim = layer.weight.shape


def _recurrent(layer: Any) -> None:
    layer.input_size = layer.weight_ih_l0.shape[1]
    layer.hidden_size = layer.weight_hh_l0.shape[0] // GATES[layer.mode]
    if layer.proj_size:
        layer.proj_size = layer.weight_hr_l0.shape[0]
    # cuDNN wants the weights in one piece of memory, of which the layer keeps its own list.
    layer._init_flat_weights()


def _cell(layer: Any) -> None:
    layer.hidden_size = layer.weight_hh.shape[1]
    layer.input_size = layer.weight_ih.shape[1]


#: Rows of a weight per hidden unit.
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _attention(layer: Any) -> None:
    layer.embed_dim = layer.out_proj.weight.shape[1]
    layer.head_dim = layer.embed_dim // layer.num_heads
    layer.kdim = layer.vdim = layer.embed_dim
    if not layer._qkv_same_embed_dim:
        layer.kdim, layer.vdim = layer.k_proj_weight.shape[1], layer.v_proj_weight.shape[1]


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
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _cell,
    nn.MultiheadAttention: _attention,
}

"""Attention: dot-product, additive, and with several heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.activation import masked_softmax
from coppice.keras_layers.configuration import plain, rewrapped
from coppice.keras_layers.convolution import kernel_and_bias
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, passed
from coppice.keras_layers.table import Shapes, keras_layer

#: What Keras takes from the scores of steps that must not be looked at.
_FAR_BELOW = 1e9


def _causal(scores: Tensor) -> Tensor:
    """Which steps a step may look at: itself and those before it."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()


def _attend(inputs: Sequence[Tensor], scores: Tensor, *, causal: bool, give_weights: bool) -> Any:
    """What the single-headed kinds share: softmax of the scores, and values weighted by it."""
    query, value = inputs[:2]
    allowed = mask_of(value)
    allowed = None if allowed is None else allowed.unsqueeze(-2)
    if causal:
        allowed = _causal(scores) if allowed is None else allowed & _causal(scores)
    if allowed is not None:
        scores = scores - (~allowed).to(scores.dtype) * _FAR_BELOW
    weights = torch.softmax(scores, dim=-1)
    result = weights @ value
    real = mask_of(query)
    if real is not None:
        result = result * real.unsqueeze(-1).to(result.dtype)
    return [result, weights] if give_weights else result


def _summed(x: Tensor) -> Tensor:
    """The sum over channels as a product with ones: a channel that is gone leaves it as it was, being zero."""
    return x @ x.new_ones(x.shape[-1])


def _is_causal(layer: KerasLayer, named: Mapping[str, Any]) -> bool:
    # An option of the layer up to TensorFlow 2.11, of the call since.
    return bool(layer.config.get("causal") or named.get("use_causal_mask"))


def _scales(config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    scale = ("scale",) if config.get("use_scale") else ()
    return (*scale, "concat_score_weight") if config.get("score_mode") == "concat" else scale


@keras_layer("Attention", variables=_scales, masks=passed)
def attention(layer: KerasLayer, inputs: Sequence[Tensor], **named: Any) -> Any:
    """Scores are products of query and key, or in the mode `concat` sums of the tanh of their sum."""
    query, key = inputs[0], inputs[-1]
    scale = layer.optional("scale")
    if layer.config.get("score_mode") == "concat":
        together = query.unsqueeze(-2) + key.unsqueeze(-3)
        together = torch.tanh(together if scale is None else together * scale)
        scores = _summed(together) * layer.array("concat_score_weight")
    else:
        scores = query @ key.transpose(-1, -2)
        scores = scores if scale is None else scores * scale
    return _attend(
        inputs, scores, causal=_is_causal(layer, named), give_weights=bool(named.get("return_attention_scores"))
    )


@keras_layer(
    "AdditiveAttention", variables=lambda config, _: ("scale",) if config.get("use_scale", True) else (), masks=passed
)
def additive_attention(layer: KerasLayer, inputs: Sequence[Tensor], **named: Any) -> Any:
    """Scores are sums of the tanh of query plus key, with a weight per channel."""
    together = torch.tanh(inputs[0].unsqueeze(-2) + inputs[-1].unsqueeze(-3))
    scale = layer.optional("scale")
    scores = _summed(together) if scale is None else together @ scale
    return _attend(
        inputs, scores, causal=_is_causal(layer, named), give_weights=bool(named.get("return_attention_scores"))
    )


#: Before, only a mask that the call states counts.
_HEEDS_MASKS = (2, 10)

_PROJECTIONS = ("query", "key", "value", "attention_output")


def _head_variables(config: Mapping[str, Any], dialect: Dialect) -> tuple[str, ...]:
    return tuple(f"{name}_{own}" for name in _PROJECTIONS for own in kernel_and_bias(config, dialect))


def _head_sizes(layer: KerasLayer, _shapes: Shapes) -> dict[str, Any]:
    """Widths of the heads, and of what comes in, which Keras 2 states beside them."""
    into, heads, key_dim = layer.array("query_kernel").shape
    width = layer.array("attention_output_kernel").shape[-1]
    sizes: dict[str, Any] = {"num_heads": heads, "key_dim": key_dim, "value_dim": layer.array("value_kernel").shape[-1]}
    stated = plain(layer.config.get("output_shape"))
    if stated is not None or width != into:  # without one, the output is as wide as the query
        sizes["output_shape"] = width if isinstance(stated, int) else rewrapped(layer.config["output_shape"], [width])
    for name in _PROJECTIONS[:3]:
        shape = plain(layer.config.get(f"{name}_shape"))
        if isinstance(shape, list):
            new = [*shape[:-1], layer.array(f"{name}_kernel").shape[0]]
            sizes[f"{name}_shape"] = rewrapped(layer.config[f"{name}_shape"], new)
    return sizes


def _keep_scale(layer: KerasLayer) -> None:
    """Scores are divided by the root of the width that the file states: narrower queries grow to make up for it."""
    factor = math.sqrt(layer.array("query_kernel").shape[-1] / float(layer.config["key_dim"]))
    if factor == 1:
        return
    with torch.no_grad():
        for name in ("query_kernel", "query_bias"):
            array = layer.optional(name)
            if array is not None:
                array.mul_(factor)


@keras_layer(
    "MultiHeadAttention",
    variables=_head_variables,
    sizes=_head_sizes,
    follow=_keep_scale,
    masks=passed,
    groups=("query_dense", "key_dense", "value_dense", "output_dense"),
)
def multi_head_attention(
    layer: KerasLayer,
    query: Tensor,
    value: Tensor,
    key: Tensor | None = None,
    *,
    attention_mask: Any = None,
    **named: Any,
) -> Any:
    """Every head by itself; what they give is projected and summed."""
    key = value if key is None else key
    _plain_heads_only(layer, query, value)
    scale = 1.0 / math.sqrt(float(layer.config["key_dim"]))
    queries, keys, values = (
        _heads(layer, name, x) for name, x in zip(_PROJECTIONS[:3], (query, key, value), strict=True)
    )
    allowed = _allowed(layer, query, value, key, attention_mask, named)
    by_head = allowed.unbind(1) if allowed is not None and allowed.dim() == 4 else [allowed] * len(queries)
    weights = [
        masked_softmax(layer, q * scale @ k.transpose(-1, -2), own, {})
        for q, k, own in zip(queries, keys, by_head, strict=True)
    ]
    parts = zip(weights, values, layer.array("attention_output_kernel").unbind(0), strict=True)
    result = torch.stack([weight @ v @ kernel for weight, v, kernel in parts]).sum(dim=0)
    bias = layer.optional("attention_output_bias")
    result = result if bias is None else result + bias
    return [result, torch.stack(weights, dim=1)] if named.get("return_attention_scores") else result


def _plain_heads_only(layer: KerasLayer, query: Tensor, value: Tensor) -> None:
    config = layer.config
    if query.dim() != 3 or value.dim() != 3 or config.get("use_gate") or config.get("sliding_window"):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (MultiHeadAttention) attends along several axes, through a gate or a window.",
            field=layer.layer_name,
        )


def _heads(layer: KerasLayer, name: str, x: Tensor) -> list[Tensor]:
    """The projection of one input for every head."""
    kernels = layer.array(f"{name}_kernel").unbind(1)
    bias = layer.optional(f"{name}_bias")
    if bias is None:
        return [x @ kernel for kernel in kernels]
    return [x @ kernel + own for kernel, own in zip(kernels, bias.unbind(0), strict=True)]


def _allowed(
    layer: KerasLayer, query: Tensor, value: Tensor, key: Tensor, stated: Any, named: Mapping[str, Any]
) -> Tensor | None:
    """Which steps of the value each step of the query may look at, all sources together."""
    sources: list[Tensor] = []
    if stated is not None:
        sources.append(torch.as_tensor(stated, device=query.device).bool())
    if layer.dialect.release >= _HEEDS_MASKS:
        real = [mask_of(query), mask_of(value), mask_of(key)]
        sources += [mask.unsqueeze(-1 if place == 0 else -2) for place, mask in enumerate(real) if mask is not None]
    if named.get("use_causal_mask"):
        sources.append(_causal(query.new_empty(query.shape[1], value.shape[1])))
    allowed: Tensor | None = None
    for source in sources:
        allowed = source if allowed is None else allowed & source
    return allowed

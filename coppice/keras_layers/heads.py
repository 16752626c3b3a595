"""Attention with several heads: each by itself, so that the widths of heads are axes of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.activation import masked_softmax
from coppice.keras_layers.attention import looking_back
from coppice.keras_layers.configuration import plain, rewrapped
from coppice.keras_layers.convolution import kernel_and_bias
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, passed
from coppice.keras_layers.table import Shapes, keras_layer

#: Before, only a mask that the call states counts.
_HEEDS_MASKS = (2, 10)

#: In the order in which Keras builds them.
_PROJECTIONS = ("query", "key", "gate", "value", "attention_output")
_GROUPS = ("query_dense", "key_dense", "gate_dense", "value_dense", "output_dense")


def _variables(config: Mapping[str, Any], dialect: Dialect) -> tuple[str, ...]:
    used = [name for name in _PROJECTIONS if name != "gate" or config.get("use_gate")]
    return tuple(f"{name}_{own}" for name in used for own in kernel_and_bias(config, dialect))


def _sizes(layer: KerasLayer, _shapes: Shapes) -> dict[str, Any]:
    """Widths of the heads, and of what comes in, which Keras 2 states beside them."""
    into, heads, key_dim = layer.array("query_kernel").shape
    width = layer.array("attention_output_kernel").shape[-1]
    sizes: dict[str, Any] = {"num_heads": heads, "key_dim": key_dim, "value_dim": layer.array("value_kernel").shape[-1]}
    stated = plain(layer.config.get("output_shape"))
    if stated is not None or width != into:  # without one, the output is as wide as the query
        sizes["output_shape"] = width if isinstance(stated, int) else rewrapped(layer.config["output_shape"], [width])
    for name in ("query", "key", "value"):
        shape = plain(layer.config.get(f"{name}_shape"))
        if isinstance(shape, list):
            new = [*shape[:-1], layer.array(f"{name}_kernel").shape[0]]
            sizes[f"{name}_shape"] = rewrapped(layer.config[f"{name}_shape"], new)
    return sizes


def _stated_width(layer: KerasLayer) -> float:
    return float(layer.config["key_dim" if layer.class_name == "MultiHeadAttention" else "head_dim"])


def _keep_scale(layer: KerasLayer) -> None:
    """Scores are divided by the root of the width that the file states: narrower queries grow to make up for it."""
    factor = math.sqrt(layer.array("query_kernel").shape[-1] / _stated_width(layer))
    if factor == 1:
        return
    with torch.no_grad():
        for name in ("query_kernel", "query_bias"):
            array = layer.optional(name)
            if array is not None:
                array.mul_(factor)


@keras_layer("MultiHeadAttention", variables=_variables, sizes=_sizes, follow=_keep_scale, masks=passed, groups=_GROUPS)
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
    if query.dim() == 3:
        return _attended(layer, (query, key, value), attention_mask, named, _every_head)
    if attention_mask is not None or named or any(mask_of(x) is not None for x in (query, key, value)):
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r} (MultiHeadAttention) attends along several axes, and is called with masks or "
            "options. Attend along one axis, or call it without.",
            field=layer.layer_name,
        )
    axes = _attended_axes(layer, query)
    sequences = (_as_sequence(query, axes), _as_sequence(key, axes), _as_sequence(value, axes))
    return _as_before(_attended(layer, sequences, None, named, _every_head), query, axes)


def _attended_axes(layer: KerasLayer, x: Tensor) -> list[int]:
    stated = plain(layer.config.get("attention_axes"))
    if stated is None:
        return list(range(1, x.dim() - 1))
    return sorted(axis % x.dim() for axis in ([stated] if isinstance(stated, int) else stated))


def _order(x: Tensor, axes: Sequence[int]) -> list[int]:
    """Axes that are not attended become samples; those that are become steps."""
    return [*(axis for axis in range(x.dim() - 1) if axis not in axes), *axes, x.dim() - 1]


def _as_sequence(x: Tensor, axes: Sequence[int]) -> Tensor:
    return x.permute(_order(x, axes)).reshape(-1, math.prod(x.shape[axis] for axis in axes), x.shape[-1])


def _as_before(y: Tensor, query: Tensor, axes: Sequence[int]) -> Tensor:
    order = _order(query, axes)
    whole = y.reshape(*(query.shape[axis] for axis in order[:-1]), y.shape[-1])
    return whole.permute([order.index(axis) for axis in range(query.dim())])


def _group_sizes(layer: KerasLayer, _shapes: Shapes) -> dict[str, Any]:
    return {"head_dim": layer.array("query_kernel").shape[-1]}


@keras_layer(
    "GroupedQueryAttention",
    "GroupQueryAttention",
    variables=_variables,
    sizes=_group_sizes,
    follow=_keep_scale,
    masks=passed,
    groups=_GROUPS,
)
def grouped_query_attention(
    layer: KerasLayer,
    query: Tensor,
    value: Tensor,
    key: Tensor | None = None,
    *,
    attention_mask: Any = None,
    **named: Any,
) -> Any:
    """Several heads of the query share one of the key and the value."""
    key = value if key is None else key
    return _attended(layer, (query, key, value), attention_mask, named, _shared_heads)


def _every_head(layer: KerasLayer, query: Tensor, key: Tensor, value: Tensor) -> list[list[Tensor]]:
    return [_heads(layer, name, x) for name, x in (("query", query), ("key", key), ("value", value))]


def _shared_heads(layer: KerasLayer, query: Tensor, key: Tensor, value: Tensor) -> list[list[Tensor]]:
    queries, keys, values = _every_head(layer, query, key, value)
    # One number stands for the widths of keys and values in the file, so both must lose equally many.
    # They may be of different lengths only in the batch and in time, which are no channels.
    tied = [torch.cat([k, v], dim=-1).chunk(2, dim=-1) for k, v in zip(keys, values, strict=True)]
    times = len(queries) // len(tied)
    shared = [pair for pair in tied for _ in range(times)]
    return [queries, [k for k, _ in shared], [v for _, v in shared]]


def _attended(
    layer: KerasLayer, inputs: tuple[Tensor, Tensor, Tensor], mask: Any, named: Mapping[str, Any], split: Any
) -> Any:
    query, key, value = inputs
    queries, keys, values = split(layer, query, key, value)
    scale = 1.0 / math.sqrt(_stated_width(layer))
    allowed = _allowed(layer, query, value, key, mask, named)
    by_head = allowed.unbind(1) if allowed is not None and allowed.dim() == 4 else [allowed] * len(queries)
    weights = [
        masked_softmax(layer, q * scale @ k.transpose(-1, -2), own, {})
        for q, k, own in zip(queries, keys, by_head, strict=True)
    ]
    made = [weight @ v for weight, v in zip(weights, values, strict=True)]
    if layer.config.get("use_gate"):
        gates = _heads(layer, "gate", query)
        made = [own * torch.sigmoid(gate) for own, gate in zip(made, gates, strict=True)]
    kernels = layer.array("attention_output_kernel").unbind(0)
    result = torch.stack([own @ kernel for own, kernel in zip(made, kernels, strict=True)]).sum(dim=0)
    bias = layer.optional("attention_output_bias")
    result = result if bias is None else result + bias
    return [result, torch.stack(weights, dim=1)] if named.get("return_attention_scores") else result


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
    every = torch.ones(query.shape[1], value.shape[1], dtype=torch.bool, device=query.device)
    if named.get("use_causal_mask"):
        sources.append(looking_back(every))
    window = layer.config.get("sliding_window")
    if window:  # this many steps to either side, oneself included
        sources.append(every.tril(int(window) - 1).triu(1 - int(window)))
    allowed: Tensor | None = None
    for source in sources:
        allowed = source if allowed is None else allowed & source
    return allowed

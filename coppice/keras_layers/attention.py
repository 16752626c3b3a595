"""Attention with one head: dot-product and additive. That with several is in `heads.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.masks import mask_of, passed
from coppice.keras_layers.table import keras_layer

#: What Keras takes from the scores of steps that must not be looked at.
_FAR_BELOW = 1e9


def looking_back(scores: Tensor) -> Tensor:
    """Which steps a step may look at: itself and those before it."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()


def _attend(inputs: Sequence[Tensor], scores: Tensor, *, causal: bool, give_weights: bool) -> Any:
    """What the single-headed kinds share: softmax of the scores, and values weighted by it."""
    query, value = inputs[:2]
    allowed = mask_of(value)
    allowed = None if allowed is None else allowed.unsqueeze(-2)
    if causal:
        allowed = looking_back(scores) if allowed is None else allowed & looking_back(scores)
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

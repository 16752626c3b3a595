"""What ONNX Runtime's optimizer makes of several nodes: operators of its own domain, com.microsoft.

`SimplifiedLayerNormalization` is one of them, though it calls itself standard.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.onnx_operators.convolution import convolution
from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.product import gemm
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text

#: By the name that a fused node gives, with its own numbers.
_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "": lambda x: x,
    "Clip": lambda x, low=None, high=None: x.clamp(low, high),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (x * alpha + beta).clamp(0, 1),
    "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
    "Relu": lambda x: F.relu(x),
    "Sigmoid": lambda x: torch.sigmoid(x),
    "Tanh": lambda x: torch.tanh(x),
}


def _activated(node: OnnxNode, x: Tensor, *parameters: float) -> Tensor:
    name = text(node.attribute("activation", ""))
    if name not in _ACTIVATIONS:
        raise NotComputed(f"ends with the activation {name}")
    return _ACTIVATIONS[name](x, *parameters)


@operator("com.microsoft.FusedConv")
def fused_conv(
    node: OnnxNode, x: Tensor, weight: Tensor, bias: Tensor | None = None, more: Tensor | None = None
) -> Tensor:
    """A convolution, a sum and an activation."""
    result = convolution(node, x, weight, bias)
    result = result if more is None else result + more
    return _activated(node, result, *(node.attribute("activation_params") or ()))


@operator("com.microsoft.FusedGemm")
def fused_gemm(node: OnnxNode, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """A matrix product and an activation."""
    given = (node.attribute(f"activation_{name}") for name in ("alpha", "beta"))
    return _activated(node, gemm(node, a, b, c), *(one for one in given if one is not None))


@operator("com.microsoft.FusedMatMul", "com.microsoft.TransposeMatMul")
def fused_matmul(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    """A scaled product, of either matrix transposed."""
    if node.attribute("transBatchA", 0) or node.attribute("transBatchB", 0):
        raise NotComputed("transposes its batch")
    a = a.transpose(-1, -2) if node.attribute("transA", 0) and a.dim() > 1 else a
    b = b.transpose(-1, -2) if node.attribute("transB", 0) and b.dim() > 1 else b
    product, alpha = torch.matmul(a, b), node.attribute("alpha", 1.0)
    return product if alpha == 1 else product * alpha


@operator("com.microsoft.Gelu", "com.microsoft.BiasGelu")
def bias_gelu(_node: OnnxNode, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """By the error function."""
    return F.gelu(x if bias is None else x + bias)


@operator("com.microsoft.FastGelu")
def fast_gelu(_node: OnnxNode, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """By a hyperbolic tangent."""
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("com.microsoft.QuickGelu")
def quick_gelu(node: OnnxNode, x: Tensor) -> Tensor:
    """By a sigmoid."""
    return x * torch.sigmoid(x * node.attribute("alpha", 1.702))


@operator("com.microsoft.BiasAdd")
def bias_add(_node: OnnxNode, x: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    """A bias and a residual."""
    return x + bias + skip


@operator("com.microsoft.SkipLayerNormalization")
def skip_layer_norm(
    node: OnnxNode, x: Tensor, skip: Tensor, scale: Tensor, shift: Tensor | None = None, bias: Tensor | None = None
) -> Any:
    """A residual and its layer norm; the fourth output is the residual itself."""
    total = x + skip if bias is None else x + skip + bias
    return _with_sum(node, F.layer_norm(total, total.shape[-1:], scale, shift, node.attribute("epsilon", 1e-12)), total)


@operator("com.microsoft.SkipSimplifiedLayerNormalization")
def skip_rms_norm(node: OnnxNode, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    """A residual and its RMS norm; the fourth output is the residual itself."""
    total = x + skip if bias is None else x + skip + bias
    return _with_sum(node, F.rms_norm(total, total.shape[-1:], scale, node.attribute("epsilon", 1e-12)), total)


@operator("SimplifiedLayerNormalization")
def rms_norm(node: OnnxNode, x: Tensor, scale: Tensor) -> Tensor:
    """By the root of the mean square."""
    if node.wanted > 1 or node.attribute("axis", -1) not in (-1, x.dim() - 1):
        raise NotComputed("gives its statistics, too, or works on several axes")
    return F.rms_norm(x, x.shape[-1:], scale, node.attribute("epsilon", 1e-5))


def _with_sum(node: OnnxNode, result: Tensor, total: Tensor) -> Any:
    if any(node.asked[1:3]):
        raise NotComputed("gives its statistics, too")
    return result if node.wanted == 1 else (result, None, None, total)[: node.wanted]


@operator("com.microsoft.EmbedLayerNormalization")
def embedded(
    node: OnnxNode,
    words: Tensor,
    kinds: Tensor | None,
    word_table: Tensor,
    place_table: Tensor,
    kind_table: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    mask: Tensor | None = None,
    places: Tensor | None = None,
) -> Any:
    """Words, their places and their kinds looked up, added and normalised; the second output counts unmasked words."""
    place = places if places is not None else torch.arange(words.shape[1], device=words.device).unsqueeze(0)
    total = F.embedding(words.long(), word_table) + F.embedding(place.long(), place_table)
    if kinds is not None and kind_table is not None:
        total = total + F.embedding(kinds.long(), kind_table)
    result = F.layer_norm(total, total.shape[-1:], scale, shift, node.attribute("epsilon", 1e-12))
    counts = words.new_zeros(words.shape[0]) if mask is None else mask.sum(1, dtype=torch.int32)
    return result if node.wanted == 1 else (result, counts.to(torch.int32), total)[: node.wanted]


@operator("com.microsoft.Attention")
def attention(
    node: OnnxNode,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    added: Tensor | None = None,
    *more: Tensor,
) -> Tensor:
    """One product for queries, keys and values, then attention."""
    if past is not None or more or node.wanted > 1 or node.attribute("do_rotary", 0):
        raise NotComputed("keeps a cache or turns its queries")
    joined = x @ weight
    joined = joined if bias is None else joined + bias
    stated = node.attribute("qkv_hidden_sizes")
    if stated is None:
        q, k, v = joined.chunk(3, -1)
    else:
        q, k, v = joined.split_with_sizes(list(stated), -1)
    return _attended(node, q, k, v, mask, added)


@operator("com.microsoft.MultiHeadAttention")
def multi_head(
    node: OnnxNode,
    q: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
    *more: Tensor,
) -> Tensor:
    """Attention of queries, keys and values that come apart."""
    if k is None or v is None or k.dim() != q.dim() or more or node.wanted > 1:
        raise NotComputed("has its queries, keys and values in one, or keeps a cache")
    if bias is not None:
        first, second, third = bias.split_with_sizes([q.shape[-1], k.shape[-1], v.shape[-1]])
        q, k, v = q + first, k + second, v + third
    return _attended(node, q, k, v, mask, added)


def _attended(node: OnnxNode, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, added: Tensor | None) -> Tensor:
    if mask is not None and mask.dim() != 2:
        raise NotComputed("has a mask of another kind than one number for each word")
    heads = node.attribute("num_heads")
    q, k, v = (one.reshape(one.shape[0], one.shape[1], heads, -1).transpose(1, 2) for one in (q, k, v))
    if node.remembered is None:  # of the whole model: a narrower head keeps the temperature that it was trained with
        node.remembered = node.attribute("scale") or 1 / math.sqrt(q.shape[-1])
    node.stated["scale"] = node.remembered
    scores = q @ k.transpose(-1, -2) * node.remembered
    hidden = node.attribute("mask_filter_value", -10000.0)
    if node.attribute("unidirectional", 0):
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if mask is not None:
        scores = scores + (1 - mask[:, None, None, :].to(scores.dtype)) * hidden
    scores = scores if added is None else scores + added
    return (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)

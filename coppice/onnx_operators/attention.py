"""Attention as one operator, since version 23."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator


@operator("Attention")
def attention(node: OnnxNode, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *cache: Tensor) -> Tensor:
    """Queries, keys and values with their heads apart (four axes) or in one (three)."""
    if node.wanted > 1 or any(one is not None for one in cache) or _beyond(node):
        raise NotComputed("keeps a cache, caps its scores or sees a window")
    together = q.dim() == 3
    if together:
        heads, shared = node.attribute("q_num_heads"), node.attribute("kv_num_heads")
        q, k, v = _apart(q, heads), _apart(k, shared), _apart(v, shared)
    if node.remembered is None:  # of the whole model: a narrower head keeps the temperature that it was trained with
        node.remembered = node.attribute("scale") or 1 / math.sqrt(q.shape[-1])
    node.stated["scale"] = node.remembered
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * node.remembered
    if node.attribute("is_causal", 0):
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else scores + mask
    result = torch.softmax(scores, -1) @ v
    return result.transpose(1, 2).flatten(2) if together else result


def _beyond(node: OnnxNode) -> bool:
    """Whether an attribute says more than what is computed here; their neutral value is zero."""
    return any(value for name, value in node.attributes.items() if name not in _KNOWN)


#: `softmax_precision` is the runtime's own business.
_KNOWN = frozenset({"is_causal", "kv_num_heads", "q_num_heads", "scale", "softmax_precision"})


def _apart(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)

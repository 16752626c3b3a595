"""Attention, torch's own and by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice.records.report import Check
from tests.engine.user_models.written import IMAGE, SERIES, UserModel, conv, floats, model, tokens


class ByHand(nn.Module):
    """Multi-head attention as tutorials write it: one linear layer for the three, heads by view."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(8)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, length, -1))  # type: ignore[no-any-return]


def _separate(m: Any, x: Tensor) -> Tensor:
    n, length, _ = x.shape
    q, k, v = (
        part(x).view(n, length, 2, -1).permute(0, 2, 1, 3).reshape(n * 2, length, -1) for part in (m.q, m.k, m.v)
    )
    weights = torch.bmm(q, k.mT).masked_fill(torch.ones(length, length).triu(1).bool(), -1e9).softmax(-1)
    y = torch.bmm(weights, v).view(n, 2, length, -1).transpose(1, 2).flatten(2)
    return m.out(y)  # type: ignore[no-any-return]


def _non_local(m: Any, x: Tensor) -> Tensor:
    x = m.stem(x)
    theta, phi, g = (part(x).flatten(2) for part in (m.theta, m.phi, m.g))
    weights = torch.matmul(theta.transpose(1, 2), phi).softmax(-1)
    y = torch.matmul(weights, g.transpose(1, 2)).transpose(1, 2)
    return m.head(x + m.w(y).view_as(x))  # type: ignore[no-any-return]


def _einsum_attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.q(x), m.k(x), m.v(x)
    weights = torch.einsum("bic,bjc->bij", q, k).softmax(-1)
    return m.out(torch.einsum("bij,bjc->bic", weights, v))  # type: ignore[no-any-return]


def _causal(length: int) -> Tensor:
    return torch.full((length, length), float("-inf")).triu(1)


MODELS: dict[str, UserModel] = {
    "multi-head attention": model(
        lambda m, x: m.out(m.attn(y := m.into(x), y, y)[0]),
        lambda: {
            "into": nn.Linear(6, 16),
            "attn": nn.MultiheadAttention(16, 4, batch_first=True),
            "out": nn.Linear(16, 5),
        },
        SERIES,
        {"into.weight": (8, 6), "attn.in_proj_weight": (24, 8), "attn.out_proj.weight": (8, 8), "out.weight": (5, 8)},
        check=Check.STATISTICS,
    ),
    "multi-head attention without weights, with a mask": model(
        lambda m, x: m.out(m.attn(y := m.into(x), y, y, need_weights=False, attn_mask=_causal(10))[0]),
        lambda: {
            "into": nn.Linear(6, 16),
            "attn": nn.MultiheadAttention(16, 4, batch_first=True),
            "out": nn.Linear(16, 5),
        },
        SERIES,
        {"into.weight": (8, 6), "attn.in_proj_weight": (24, 8), "attn.out_proj.weight": (8, 8), "out.weight": (5, 8)},
    ),
    "cross attention with widths of its own": model(
        lambda m, x, y: m.out(m.attn(m.into(x), m.other(y), m.other(y))[0]),
        lambda: {
            "into": nn.Linear(6, 16),
            "other": nn.Linear(4, 12),
            "attn": nn.MultiheadAttention(16, 2, kdim=12, vdim=12, batch_first=True),
            "out": nn.Linear(16, 5),
        },
        floats((2, 10, 6), (2, 7, 4)),
        {"into.weight": (8, 6), "other.weight": (6, 4), "attn.k_proj_weight": (8, 6), "attn.out_proj.weight": (8, 8)},
        check=Check.STATISTICS,
    ),
    "a transformer encoder": model(
        lambda m, x: m.out(m.encoder(m.into(x)).mean(1)),
        lambda: {
            "into": nn.Linear(6, 16),
            "encoder": nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2),
            "out": nn.Linear(16, 5),
        },
        SERIES,
        {
            "into.weight": (8, 6),
            "encoder.layers.0.self_attn.in_proj_weight": (24, 8),
            "encoder.layers.1.linear1.weight": (16, 8),
            "encoder.layers.1.linear2.weight": (8, 16),
            "encoder.layers.1.norm2.weight": (8,),
        },
        check=Check.STATISTICS,
    ),
    "a transformer encoder over tokens, causal": model(
        lambda m, x: m.out(m.encoder(m.embed(x) + m.place[: x.shape[1]], mask=_causal(10))),
        lambda: {
            "embed": nn.Embedding(9, 16),
            "place": nn.Parameter(torch.randn(32, 16)),
            "encoder": nn.TransformerEncoder(
                nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True, activation="gelu"),
                2,
                enable_nested_tensor=False,
            ),
            "out": nn.Linear(16, 9),
        },
        tokens(2, 10),
        {"embed.weight": (9, 8), "place": (32, 8), "encoder.layers.0.linear1.weight": (16, 8), "out.weight": (9, 8)},
        check=Check.STATISTICS,
    ),
    "a whole transformer": model(
        lambda m, x, y: m.out(m.transformer(m.into(x), m.into(y))),
        lambda: {
            "into": nn.Linear(6, 16),
            "transformer": nn.Transformer(16, 4, 1, 1, 32, batch_first=True),
            "out": nn.Linear(16, 5),
        },
        floats((2, 10, 6), (2, 7, 6)),
        {
            "into.weight": (8, 6),
            "transformer.encoder.layers.0.linear1.weight": (16, 8),
            "transformer.decoder.layers.0.multihead_attn.in_proj_weight": (24, 8),
        },
        check=Check.STATISTICS,
    ),
    "attention by hand, one layer for the three": model(
        lambda m, x: m.out(m.attn(m.into(x))),
        lambda: {"into": nn.Linear(6, 16), "attn": ByHand(16, 2), "out": nn.Linear(16, 5)},
        SERIES,
        {"into.weight": (8, 6), "attn.qkv.weight": (24, 8), "attn.proj.weight": (8, 8)},
    ),
    "attention by hand, three layers and batched products": model(
        _separate,
        lambda: {"q": nn.Linear(6, 16), "k": nn.Linear(6, 16), "v": nn.Linear(6, 24), "out": nn.Linear(24, 5)},
        SERIES,
        {"q.weight": (8, 6), "k.weight": (8, 6), "v.weight": (12, 6), "out.weight": (5, 12)},
    ),
    "attention by hand with the fused function": model(
        lambda m, x: m.out(F.scaled_dot_product_attention(m.q(x), m.k(x), m.v(x), scale=0.3)),
        lambda: {"q": nn.Linear(6, 16), "k": nn.Linear(6, 16), "v": nn.Linear(6, 24), "out": nn.Linear(24, 5)},
        SERIES,
        {"q.weight": (8, 6), "k.weight": (8, 6), "v.weight": (12, 6), "out.weight": (5, 12)},
    ),
    "the fused function with the scale of the width": model(
        lambda m, x: m.out(F.scaled_dot_product_attention(m.q(x), m.k(x), m.v(x))),
        lambda: {"q": nn.Linear(6, 16), "k": nn.Linear(6, 16), "v": nn.Linear(6, 24), "out": nn.Linear(24, 5)},
        SERIES,
        {"q.weight": (8, 6), "k.weight": (8, 6), "v.weight": (12, 6), "out.weight": (5, 12)},
        check=Check.STATISTICS,
    ),
    "attention in einsums": model(
        _einsum_attention,
        lambda: {"q": nn.Linear(6, 16), "k": nn.Linear(6, 16), "v": nn.Linear(6, 24), "out": nn.Linear(24, 5)},
        SERIES,
        {"q.weight": (8, 6), "k.weight": (8, 6), "v.weight": (12, 6), "out.weight": (5, 12)},
    ),
    "a non-local block": model(
        _non_local,
        lambda: {
            "stem": conv(3, 16),
            **{name: conv(16, 8, 1) for name in ("theta", "phi", "g")},
            "w": nn.Conv1d(8, 16, 1),
            "head": conv(16, 4),
        },
        IMAGE,
        {"stem.weight": (8, 3, 3, 3), "theta.weight": (4, 8, 1, 1), "g.weight": (4, 8, 1, 1), "w.weight": (8, 4, 1)},
    ),
}

"""Whole small architectures of papers and tutorials, as their code is mostly written."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice.records.report import Check
from tests.engine.user_models.written import IMAGE, SERIES, UserModel, conv, floats, model, tokens


class GroupedQueries(nn.Module):
    """Attention with fewer keys than queries and a causal mask, as the code of Llama has it."""

    def __init__(self, width: int = 32, heads: int = 4, kv_heads: int = 2) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, width // heads
        self.q_proj = nn.Linear(width, heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * self.head_dim, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q = self.q_proj(x).view(n, length, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(n, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(n, length, self.kv_heads, self.head_dim).transpose(1, 2)
        k, v = (part.repeat_interleave(self.heads // self.kv_heads, dim=1) for part in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(n, length, -1))  # type: ignore[no-any-return]


class Mixer(nn.Module):
    """One block of an MLP mixer: tokens, then channels."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(length, 16), nn.GELU(), nn.Linear(16, length))
        self.channels = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))  # type: ignore[no-any-return]


class Gated(nn.Module):
    """A layer of WaveNet: dilated, gated, with a residual and a skip output."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.both = nn.Conv1d(width, 2 * width, 2, dilation=dilation)
        self.skip, self.res = nn.Conv1d(width, 12, 1), nn.Conv1d(width, width, 1)
        self.dilation = dilation

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.both(F.pad(x, (self.dilation, 0)))
        filtered, gate = torch.split(y, y.size(1) // 2, dim=1)
        y = filtered.tanh() * gate.sigmoid()
        return x + self.res(y), self.skip(y)


def _wavenet(m: Any, x: Tensor) -> Tensor:
    x, skips = m.into(x), torch.zeros(())
    for layer in m.layers:
        x, skip = layer(x)
        skips = skips + skip
    return m.out(F.relu(skips))  # type: ignore[no-any-return]


def _detector(m: Any, x: Tensor) -> list[Tensor]:
    high = m.stem(x)
    low = m.down(high)
    pyramid = [m.lateral[0](high) + F.interpolate(m.lateral[1](low), scale_factor=2.0), m.lateral[1](low)]
    outputs = []
    for scale, level in zip(m.scales, pyramid, strict=True):
        y = m.tower(level)
        n, _, h, w = y.shape
        boxes = m.boxes(y) * scale
        outputs += [m.classes(y).view(n, 3, 5, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 5), boxes.exp()]
    return outputs


def _generator(m: Any, z: Tensor) -> Tensor:
    x = m.project(z).view(-1, 16, 4, 4)
    return m.up(x).tanh()  # type: ignore[no-any-return]


def _unet_of_diffusion(m: Any, x: Tensor, t: Tensor) -> Tensor:
    h = m.into(x)
    scale, shift = m.time(F.silu(m.embed(t))).chunk(2, dim=1)
    y = m.norm1(h) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    h = h + m.conv1(F.silu(y))
    n, c, height, width = h.shape
    q, k, v = m.qkv(m.norm2(h)).reshape(n, 3, c, height * width).unbind(1)
    weights = torch.einsum("bci,bcj->bij", q * c**-0.5, k).softmax(dim=-1)
    h = h + m.proj(torch.einsum("bij,bcj->bci", weights, v).reshape(n, c, height, width))
    return m.out(F.silu(h))  # type: ignore[no-any-return]


def _pointnet(m: Any, x: Tensor) -> Tensor:
    t = m.t_fc(m.t_conv(x).relu().max(2)[0]).view(-1, 3, 3) + torch.eye(3)
    x = torch.bmm(x.transpose(2, 1), t).transpose(2, 1)
    local = m.bn(m.conv1(x)).relu()
    overall = torch.max(m.conv2(local), 2, keepdim=True)[0].view(-1, m.wide, 1).repeat(1, 1, x.shape[2])
    return m.out(torch.cat([local, overall], 1)).log_softmax(1)  # type: ignore[no-any-return]


def _text_cnn(m: Any, x: Tensor) -> Tensor:
    x = m.embed(x).unsqueeze(1)
    pooled = [F.relu(c(x)).squeeze(3).max(2)[0] for c in m.convs]
    return m.out(torch.cat(pooled, 1))  # type: ignore[no-any-return]


def _bahdanau(m: Any, x: Tensor) -> Tensor:
    states, last = m.encoder(x)
    scores = m.v(torch.tanh(m.w(states) + m.u(last[-1]).unsqueeze(1)))
    context = torch.bmm(scores.softmax(1).transpose(1, 2), states).squeeze(1)
    return m.out(torch.cat([context, last[-1]], 1))  # type: ignore[no-any-return]


def _factorisation(m: Any, x: Tensor) -> Tensor:
    fields = m.embed(x)
    pairs = 0.5 * (fields.sum(1).pow(2) - fields.pow(2).sum(1)).sum(1, keepdim=True)
    return pairs + m.deep(fields.flatten(1)) + m.bias(x).sum(1)  # type: ignore[no-any-return]


def _graph(m: Any, x: Tensor) -> Tensor:
    adjacency = torch.ones(x.shape[0], x.shape[0]) / x.shape[0]
    x = F.relu(adjacency @ m.a(x))
    heads = m.att(x).view(x.shape[0], 2, -1)
    weights = (heads[:, None] + heads[None]).sum(-1).softmax(1)
    return m.b(torch.einsum("ijh,jhd->ihd", weights, heads).flatten(1))  # type: ignore[no-any-return]


def _selective(m: Any, x: Tensor) -> Tensor:
    branches = torch.stack([c(x) for c in m.branches], 1)
    squeezed = m.fc(branches.sum(1).mean((2, 3))).relu()
    weights = torch.stack([f(squeezed) for f in m.fcs], 1).softmax(1)
    return m.b((branches * weights[..., None, None]).sum(1))  # type: ignore[no-any-return]


def _adain(m: Any, x: Tensor, style: Tensor) -> Tensor:
    y = m.a(x)
    gamma, beta = m.style(style).chunk(2, 1)
    y = F.instance_norm(y) * (1 + gamma[..., None, None]) + beta[..., None, None]
    return m.b(y.relu())  # type: ignore[no-any-return]


def _duel(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x / 255).relu().view(x.size(0), -1)
    value, advantage = m.value(y), m.advantage(y)
    return value + advantage - advantage.mean(1, keepdim=True)  # type: ignore[no-any-return]


def _dense_block(m: Any, x: Tensor) -> Tensor:
    features = [m.into(x)]
    for layer in m.layers:
        features.append(F.leaky_relu(layer(torch.cat(features, 1)), 0.2))
    return m.out(features[-1] * 0.2 + features[0])  # type: ignore[no-any-return]


def _highway(m: Any, x: Tensor) -> Tensor:
    x = m.into(x)
    for transform, gate in zip(m.transforms, m.gates, strict=True):
        t = gate(x).sigmoid()
        x = transform(x).relu() * t + x * (1 - t)
    return m.out(x)  # type: ignore[no-any-return]


def _experts(m: Any, x: Tensor) -> Tensor:
    hidden = torch.einsum("bd,edh->beh", x, m.up).relu()
    outputs = torch.einsum("beh,ehd->bed", hidden, m.down)
    return (m.gate(x).softmax(-1).unsqueeze(-1) * outputs).sum(1)  # type: ignore[no-any-return]


def _vae(m: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = m.encode(x).flatten(1)
    mean, spread = m.mean(h), m.spread(h)
    z = mean + torch.exp(0.5 * spread) * torch.randn_like(spread) * 0
    return m.decode(m.grow(z).unflatten(1, (8, 4, 4))), mean, spread


def _two_towers(m: Any, user: Tensor, item: Tensor) -> Tensor:
    return F.normalize(m.user(user), dim=-1) @ F.normalize(m.item(item), dim=-1).T


MODELS: dict[str, UserModel] = {
    "grouped queries": model(
        lambda m, x: m.out(m.attn(m.into(x))),
        lambda: {"into": nn.Linear(6, 32), "attn": GroupedQueries(), "out": nn.Linear(32, 5)},
        SERIES,
        {"into.weight": (16, 6), "attn.q_proj.weight": (16, 16), "attn.k_proj.weight": (8, 16)},
        check=Check.STATISTICS,
    ),
    "an MLP mixer": model(
        lambda m, x: m.out(m.blocks(m.into(x)).mean(1)),
        lambda: {
            "into": nn.Linear(6, 32),
            "blocks": nn.Sequential(Mixer(10, 32), Mixer(10, 32)),
            "out": nn.Linear(32, 5),
        },
        SERIES,
        {"into.weight": (16, 6), "blocks.0.tokens.0.weight": (8, 10), "blocks.1.channels.0.weight": (32, 16)},
        check=Check.STATISTICS,
    ),
    "a WaveNet": model(
        _wavenet,
        lambda: {
            "into": nn.Conv1d(6, 8, 1),
            "layers": nn.ModuleList([Gated(8, 1), Gated(8, 2)]),
            "out": nn.Conv1d(12, 6, 1),
        },
        floats((2, 6, 20)),
        {"into.weight": (4, 6, 1), "layers.1.both.weight": (8, 4, 2), "layers.0.skip.weight": (6, 4, 1)},
    ),
    "a detector with one head for all levels": model(
        _detector,
        lambda: {
            "stem": conv(3, 8),
            "down": conv(8, 16, stride=2),
            "lateral": nn.ModuleList([conv(8, 16, 1), conv(16, 16, 1)]),
            "tower": nn.Sequential(conv(16, 16), nn.GroupNorm(4, 16), nn.ReLU()),
            "classes": conv(16, 15),
            "boxes": conv(16, 4),
            "scales": nn.ParameterList([nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))]),
        },
        IMAGE,
        {"stem.weight": (4, 3, 3, 3), "tower.0.weight": (8, 8, 3, 3), "classes.weight": (15, 8, 3, 3)},
        check=Check.STATISTICS,
    ),
    "a generator that starts from a hard-coded shape": model(
        _generator,
        lambda: {
            "project": nn.Linear(10, 256),
            "up": nn.Sequential(
                nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)
            ),
        },
        floats((2, 10)),
        {"project.weight": (256, 10), "up.0.weight": (16, 4, 4, 4), "up.1.weight": (4,)},
        reason="hard-coded",
    ),
    "a U-Net block of diffusion": model(
        _unet_of_diffusion,
        lambda: {
            "into": conv(3, 16),
            "embed": nn.Linear(4, 12),
            "time": nn.Linear(12, 32),
            "norm1": nn.GroupNorm(4, 16),
            "norm2": nn.GroupNorm(4, 16),
            "conv1": conv(16, 16),
            "qkv": conv(16, 48, 1),
            "proj": conv(16, 16, 1),
            "out": conv(16, 3),
        },
        floats((2, 3, 8, 8), (2, 4)),
        {"into.weight": (8, 3, 3, 3), "embed.weight": (6, 4), "time.weight": (16, 6), "qkv.weight": (24, 8, 1, 1)},
        check=Check.STATISTICS,
    ),
    "a PointNet": model(
        _pointnet,
        lambda: {
            "t_conv": nn.Conv1d(3, 8, 1),
            "t_fc": nn.Linear(8, 9),
            "conv1": nn.Conv1d(3, 8, 1),
            "bn": nn.BatchNorm1d(8),
            "conv2": nn.Conv1d(8, 32, 1),
            "out": nn.Conv1d(40, 5, 1),
            "wide": 32,
        },
        floats((2, 3, 20)),
        {"t_conv.weight": (4, 3, 1), "conv2.weight": (16, 4, 1), "out.weight": (5, 20, 1)},
    ),
    "a TextCNN": model(
        _text_cnn,
        lambda: {
            "embed": nn.Embedding(9, 16),
            "convs": nn.ModuleList([nn.Conv2d(1, 8, (k, 16)) for k in (2, 3)]),
            "out": nn.Linear(16, 3),
        },
        tokens(2, 10),
        {"embed.weight": (9, 8), "convs.0.weight": (4, 1, 2, 8), "out.weight": (3, 8)},
    ),
    "additive attention over a GRU": model(
        _bahdanau,
        lambda: {
            "encoder": nn.GRU(6, 16, batch_first=True),
            "w": nn.Linear(16, 12),
            "u": nn.Linear(16, 12),
            "v": nn.Linear(12, 1),
            "out": nn.Linear(32, 5),
        },
        SERIES,
        {"encoder.weight_hh_l0": (24, 8), "w.weight": (6, 8), "v.weight": (1, 6), "out.weight": (5, 16)},
    ),
    "a deep factorisation machine": model(
        _factorisation,
        lambda: {
            "embed": nn.Embedding(9, 16),
            "bias": nn.Embedding(9, 1),
            "deep": nn.Sequential(nn.Linear(80, 8), nn.ReLU(), nn.Linear(8, 1)),
        },
        tokens(2, 5),
        {"embed.weight": (9, 8), "deep.0.weight": (4, 40), "bias.weight": (9, 1)},
    ),
    "a graph network with attention": model(
        _graph,
        lambda: {"a": nn.Linear(6, 16), "att": nn.Linear(16, 24), "b": nn.Linear(24, 4)},
        floats((7, 6)),
        {"a.weight": (8, 6), "att.weight": (12, 8), "b.weight": (4, 12)},
    ),
    "selective kernels": model(
        _selective,
        lambda: {
            "branches": nn.ModuleList([conv(3, 8, 3), conv(3, 8, 5)]),
            "fc": nn.Linear(8, 4),
            "fcs": nn.ModuleList([nn.Linear(4, 8), nn.Linear(4, 8)]),
            "b": conv(8, 4),
        },
        IMAGE,
        {"branches.1.weight": (4, 3, 5, 5), "fc.weight": (2, 4), "fcs.0.weight": (4, 2)},
    ),
    "a style that sets mean and spread": model(
        _adain,
        lambda: {"a": conv(3, 8), "style": nn.Linear(6, 16), "b": conv(8, 3)},
        floats((2, 3, 8, 8), (2, 6)),
        {"a.weight": (4, 3, 3, 3), "style.weight": (8, 6), "b.weight": (3, 4, 3, 3)},
    ),
    "a duelling network": model(
        _duel,
        lambda: {
            "conv": nn.Sequential(nn.Conv2d(3, 8, 4, 2), nn.ReLU(), nn.Conv2d(8, 8, 3)),
            "value": nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)),
            "advantage": nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6)),
        },
        IMAGE,
        {"conv.2.weight": (4, 4, 3, 3), "value.0.weight": (8, 4), "advantage.2.weight": (6, 8)},
    ),
    "residual dense blocks": model(
        _dense_block,
        lambda: {
            "into": conv(3, 8),
            "layers": nn.ModuleList([conv(8, 4), conv(12, 8)]),
            "out": conv(8, 3),
        },
        IMAGE,
        {"into.weight": (4, 3, 3, 3), "layers.0.weight": (2, 4, 3, 3), "layers.1.weight": (4, 6, 3, 3)},
    ),
    "highways": model(
        _highway,
        lambda: {
            "into": nn.Linear(12, 8),
            "transforms": nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]),
            "gates": nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]),
            "out": nn.Linear(8, 3),
        },
        floats((4, 12)),
        {"into.weight": (4, 12), "transforms.1.weight": (4, 4), "out.weight": (3, 4)},
    ),
    "experts in one parameter": model(
        _experts,
        lambda: {
            "up": nn.Parameter(torch.randn(3, 12, 8)),
            "down": nn.Parameter(torch.randn(3, 8, 5)),
            "gate": nn.Linear(12, 3),
        },
        floats((4, 12)),
        {"up": (3, 12, 4), "down": (3, 4, 5)},
    ),
    "a variational autoencoder of images": model(
        _vae,
        lambda: {
            "encode": nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
            "mean": nn.Linear(128, 6),
            "spread": nn.Linear(128, 6),
            "grow": nn.Linear(6, 128),
            "decode": nn.Sequential(nn.ConvTranspose2d(8, 4, 2, 2), nn.ReLU(), conv(4, 3)),
        },
        IMAGE,
        {"encode.0.weight": (4, 3, 3, 3), "mean.weight": (6, 64), "decode.0.weight": (8, 2, 2, 2)},
        reason="hard-coded",
    ),
    "two towers": model(
        _two_towers,
        lambda: {
            "user": nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6)),
            "item": nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6)),
        },
        floats((4, 12), (3, 5)),
        {"user.0.weight": (4, 12), "user.2.weight": (3, 4), "item.2.weight": (3, 4)},
    ),
}

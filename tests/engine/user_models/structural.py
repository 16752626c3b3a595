"""Inputs, outputs, containers, control flow, and operations that pick, mask, compare and normalise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from coppice.records.report import Check
from tests.engine.user_models.written import IMAGE, SERIES, UserModel, conv, floats, model

A, B = (4, 3, 3, 3), (4, 4, 3, 3)  # what one half leaves of conv(3, 8) and of conv(8, 4) behind it
AB = {"a.weight": A, "b.weight": B}
VECTOR = floats((4, 12))


def pair(middle: int = 8, into: int | None = None, **more: Any) -> Any:
    return lambda: {
        "a": conv(3, middle),
        "b": conv(into or middle, 4),
        **{name: make() for name, make in more.items()},
    }


def _linear(m: Any, x: Tensor) -> Tensor:
    return m.b(m.a(x).relu())  # type: ignore[no-any-return]


def linears() -> dict[str, Any]:
    return {"a": nn.Linear(12, 8), "b": nn.Linear(8, 4)}


LINEARS = {"a.weight": (4, 12), "b.weight": (4, 4)}


@dataclass
class Answer:
    scores: Tensor
    embedding: Tensor
    steps: int = 3


class RMSNorm(nn.Module):
    """As the Llama code writes it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class LayerNorm2d(nn.Module):
    """As the ConvNeXt code writes it, over the channels of an image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(width) + 0.5), nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * (x - mean) / torch.sqrt(var + 1e-6) + self.bias[:, None, None]


class Sign(nn.Module):
    """Takes one of two branches, as the data say."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = self.b(x) if x.sum() > 0 else self.c(x)
        return self.d(x)  # type: ignore[no-any-return]


def _double_some(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[:, :4] = y[:, :4] * 2
    return m.b(y)  # type: ignore[no-any-return]


def _siamese(m: Any, x: Tensor, y: Tensor) -> Tensor:
    return m.out((m.a(x).tanh() - m.a(y).tanh()).abs())  # type: ignore[no-any-return]


def _last_step(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    last = torch.full((y.shape[0], 1, y.shape[2]), 9)
    return m.b(y.gather(1, last).squeeze(1))  # type: ignore[no-any-return]


def _swiglu(m: Any, x: Tensor) -> Tensor:
    gate, value = m.w12(x).chunk(2, dim=-1)
    return m.w3(F.silu(gate) * value)  # type: ignore[no-any-return]


def _feature_norm(**norm: Any) -> Any:
    ((name, make),) = norm.items()
    return lambda: {"a": nn.Linear(6, 16), name: make(), "b": nn.Linear(16, 8), "c": nn.Linear(8, 4)}


NORMED = {"a.weight": (8, 6), "n.weight": (8,), "b.weight": (4, 8), "c.weight": (4, 4)}

MODELS: dict[str, UserModel] = {
    "two inputs": model(
        lambda m, x, y: m.out(m.a(x) + torch.cat([m.c(y), m.d(y)], -1)),
        lambda: {"a": nn.Linear(12, 8), "c": nn.Linear(5, 4), "d": nn.Linear(5, 4), "out": nn.Linear(8, 3)},
        floats((4, 12), (4, 5)),
        {"a.weight": (4, 12), "c.weight": (2, 5), "d.weight": (2, 5), "out.weight": (3, 4)},
    ),
    "a dict with a number among its outputs": model(
        lambda m, x: {"scores": m.b(m.a(x)), "steps": 3, "none": None}, pair(), IMAGE, AB
    ),
    "a tuple of outputs": model(
        lambda m, x: (m.b(y := m.a(x)), y.mean((2, 3)) @ m.c),
        pair(8, 8, c=lambda: nn.Parameter(torch.randn(8, 5))),
        IMAGE,
        {**AB, "c": (4, 5)},
    ),
    "a dataclass of outputs": model(
        lambda m, x: Answer(scores=m.b(y := m.a(x).relu()), embedding=m.c(y)),
        lambda: {"a": nn.Linear(12, 8), "b": nn.Linear(8, 4), "c": nn.Linear(8, 6)},
        VECTOR,
        {**LINEARS, "c.weight": (6, 4)},
    ),
    "branches in a ModuleDict": model(
        lambda m, x: m.out(torch.cat([m.branches[name](x) for name in ("fine", "coarse")], 1).mean((2, 3))),
        lambda: {"branches": nn.ModuleDict({"coarse": conv(3, 8), "fine": conv(3, 4)}), "out": nn.Linear(12, 5)},
        IMAGE,
        {"branches.coarse.weight": A, "branches.fine.weight": (2, 3, 3, 3), "out.weight": (5, 6)},
    ),
    "a ModuleList in a loop": model(
        lambda m, x: m.out(_through(m.layers, x)),
        lambda: {"layers": nn.ModuleList([nn.Linear(12, 8), nn.Linear(8, 8)]), "out": nn.Linear(8, 3)},
        VECTOR,
        {"layers.0.weight": (4, 12), "layers.1.weight": (4, 4), "out.weight": (3, 4)},
    ),
    "nested Sequential with Identity and dropouts": model(
        lambda m, x: m.body(x),
        lambda: {
            "body": nn.Sequential(
                nn.Sequential(conv(3, 8), nn.Identity(), nn.BatchNorm2d(8), nn.Dropout2d(0.2), nn.ReLU(inplace=True)),
                nn.Sequential(conv(8, 8), nn.Sequential(nn.SELU(), nn.AlphaDropout(0.1), nn.FeatureAlphaDropout(0.1))),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(32, 5),
            )
        },
        IMAGE,
        {"body.0.0.weight": A, "body.0.2.weight": (4,), "body.1.0.weight": B, "body.4.weight": (5, 16)},
    ),
    "a branch that the data choose": UserModel(
        build=Sign,
        inputs=lambda: (torch.ones(4, 12),),
        left={"a.weight": (4, 12)},
    ),
    "two that are compared": model(
        _siamese,
        lambda: {"a": nn.Linear(12, 8), "out": nn.Linear(8, 1)},
        floats((4, 12), (4, 12)),
        {"a.weight": (4, 12), "out.weight": (1, 4)},
    ),
    "two that are compared by their cosine": model(
        lambda m, x, y: F.cosine_similarity(m.b(m.a(x).relu()), m.b(m.a(y).relu()), dim=1),
        linears,
        floats((4, 12), (4, 12)),
        {"a.weight": (4, 12), "b.weight": (2, 4)},
    ),
    "two that are compared by their distance": model(
        lambda m, x, y: F.pairwise_distance(m.b(m.a(x).relu()), m.b(m.a(y).relu())),
        linears,
        floats((4, 12), (4, 12)),
        {"a.weight": (4, 12), "b.weight": (2, 4)},
    ),
    "distances to prototypes": model(
        lambda m, x: torch.cdist(m.a(x), m.p),
        lambda: {"a": nn.Linear(12, 8), "p": nn.Parameter(torch.randn(5, 8))},
        VECTOR,
        {"a.weight": (4, 12), "p": (5, 4)},
    ),
    "distances to many prototypes": model(
        lambda m, x: torch.cdist(m.a(x), m.p),
        lambda: {"a": nn.Linear(12, 8), "p": nn.Parameter(torch.randn(40, 8))},
        VECTOR,
        {"a.weight": (4, 12), "p": (40, 4)},
    ),
    "squared distances by hand": model(
        lambda m, x: (m.a(x)[:, None] - m.p[None]).pow(2).sum(-1),
        lambda: {"a": nn.Linear(12, 8), "p": nn.Parameter(torch.randn(5, 8))},
        VECTOR,
        {"a.weight": (4, 12), "p": (5, 4)},
    ),
    "unit length over the channels": model(lambda m, x: m.b(F.normalize(m.a(x), dim=1)), pair(), IMAGE, AB),
    "local response norm": model(
        lambda m, x: m.b(F.local_response_norm(m.a(x), 3)),
        pair(),
        IMAGE,
        AB,
        check=Check.STATISTICS,
    ),
    "RMS norm": model(
        lambda m, x: m.c(m.b(m.n(m.a(x)))),
        _feature_norm(n=lambda: nn.RMSNorm(16)),
        SERIES,
        NORMED,
        check=Check.STATISTICS,
    ),
    "RMS norm by hand": model(
        lambda m, x: m.c(m.b(m.n(m.a(x)))), _feature_norm(n=lambda: RMSNorm(16)), SERIES, NORMED, check=Check.STATISTICS
    ),
    "layer norm": model(
        lambda m, x: m.c(m.b(m.n(m.a(x)))),
        _feature_norm(n=lambda: nn.LayerNorm(16)),
        SERIES,
        NORMED,
        check=Check.STATISTICS,
    ),
    "layer norm over channels by hand": model(
        lambda m, x: m.b(m.n(m.a(x))),
        pair(n=lambda: LayerNorm2d(8)),
        IMAGE,
        {**AB, "n.weight": (4,)},
        check=Check.STATISTICS,
    ),
    "group norm": model(
        lambda m, x: m.b(m.n(m.a(x))),
        pair(16, n=lambda: nn.GroupNorm(4, 16)),
        IMAGE,
        {"a.weight": (8, 3, 3, 3), "n.weight": (8,)},
        check=Check.STATISTICS,
    ),
    "group norm of one group, without parameters": model(
        lambda m, x: m.b(m.n(m.a(x))),
        pair(n=lambda: nn.GroupNorm(1, 8, affine=False)),
        IMAGE,
        AB,
        check=Check.STATISTICS,
    ),
    "instance norm with statistics": model(
        lambda m, x: m.b(m.n(m.a(x))),
        pair(n=lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True)),
        IMAGE,
        {**AB, "n.weight": (4,), "n.running_mean": (4,)},
    ),
    "instance norm without parameters": model(
        lambda m, x: m.b(m.n(m.a(x))), pair(n=lambda: nn.InstanceNorm2d(8)), IMAGE, AB
    ),
    "batch norm that is frozen": model(
        lambda m, x: m.b(m.n(m.a(x))), pair(n=lambda: FrozenBatchNorm2d(8)), IMAGE, {**AB, "n.running_var": (4,)}
    ),
    "batch norm after concatenation": model(
        lambda m, x: m.b(m.n(torch.cat([m.a(x), m.c(x)], 1)).relu()),
        pair(8, 12, c=lambda: conv(3, 4), n=lambda: nn.BatchNorm2d(12)),
        IMAGE,
        {"a.weight": A, "c.weight": (2, 3, 3, 3), "n.running_mean": (6,), "b.weight": (4, 6, 3, 3)},
    ),
    "PReLU with a slope for each channel": model(
        lambda m, x: m.b(m.p(m.a(x))), pair(p=lambda: nn.PReLU(8)), IMAGE, {**AB, "p.weight": (4,)}
    ),
    "a gated linear unit": model(
        lambda m, x: m.b(F.glu(m.a(x), 1)), pair(16, 8), IMAGE, {"a.weight": (8, 3, 3, 3), "b.weight": B}
    ),
    "a SwiGLU": model(
        _swiglu,
        lambda: {"w12": nn.Linear(6, 32, bias=False), "w3": nn.Linear(16, 6, bias=False)},
        SERIES,
        {"w12.weight": (16, 6), "w3.weight": (6, 8)},
    ),
    "a softmax over the channels": model(
        lambda m, x: m.b(m.a(x).softmax(1)), pair(), IMAGE, AB, check=Check.STATISTICS
    ),
    "some channels written in place": model(
        _double_some,
        pair(),
        IMAGE,
        {"a.weight": (8, 3, 3, 3)},
        reason="counted by a hard-coded 4: __getitem__",
        check=Check.STATISTICS,
    ),
    "channels picked by a table": model(
        lambda m, x: m.b(m.a(x).index_select(1, torch.tensor([1, 4, 5]))),
        pair(8, 3),
        IMAGE,
        {"a.weight": (8, 3, 3, 3)},
        reason="picked by position",
    ),
    "the step that an index names": model(
        _last_step,
        lambda: {"a": nn.Linear(6, 16), "b": nn.Linear(16, 4)},
        SERIES,
        {"a.weight": (8, 6), "b.weight": (4, 8)},
    ),
    "steps scattered to their places": model(
        lambda m, x: m.b(torch.zeros_like(y := m.a(x)).scatter(1, torch.ones_like(y, dtype=torch.long), y)),
        lambda: {"a": nn.Linear(6, 16), "b": nn.Linear(16, 4)},
        SERIES,
        {"a.weight": (8, 6), "b.weight": (4, 8)},
    ),
    "nodes that send messages along edges": model(
        lambda m, x: m.b(
            torch.zeros_like(y := m.a(x)).index_add(0, torch.tensor([1, 2, 3, 0]), y[torch.tensor([0, 1, 2, 3])])
        ),
        linears,
        VECTOR,
        LINEARS,
    ),
    "values that a mask fills": model(
        lambda m, x: m.b(m.a(x).masked_fill(x.sum(1, keepdim=True) > 0, 0.5)), pair(), IMAGE, AB
    ),
    "values chosen by a condition": model(
        lambda m, x: m.b(torch.where((y := m.a(x)) > 0, y, y.exp() - 1).clamp(max=3)), pair(), IMAGE, AB
    ),
    "a mask in a buffer": model(
        lambda m, x: m.b(m.a(x) * m.mask),
        pair(mask=lambda: nn.Buffer(torch.rand(1, 8, 1, 1))),
        IMAGE,
        {**AB, "mask": (1, 4, 1, 1)},
    ),
    "a constant in a buffer": model(
        lambda m, x: m.b(m.a((x - m.mean) / m.std)),
        pair(mean=lambda: nn.Buffer(torch.rand(3, 1, 1)), std=lambda: nn.Buffer(torch.rand(3, 1, 1) + 1)),
        IMAGE,
        AB,
    ),
    "a division by a buffer": model(
        lambda m, x: m.b(m.a(x) / m.scale),
        pair(scale=lambda: nn.Buffer(torch.rand(8, 1, 1) + 1)),
        IMAGE,
        {**AB, "scale": (4, 1, 1)},
    ),
    "features repeated over the image": model(
        lambda m, x: m.b(torch.cat([y := m.a(x), y.mean((2, 3), keepdim=True).repeat(1, 1, 8, 8)], 1)),
        pair(8, 16),
        IMAGE,
        {"a.weight": A, "b.weight": (4, 8, 3, 3)},
    ),
    "tokens of an image": model(
        lambda m, x: m.out(torch.cat([m.token.expand(x.shape[0], -1, -1), m.a(x).flatten(2).mT], 1)[:, 0] + m.place),
        lambda: {
            "a": conv(3, 8),
            "token": nn.Parameter(torch.randn(1, 1, 8)),
            "place": nn.Parameter(torch.randn(8)),
            "out": nn.Linear(8, 5),
        },
        IMAGE,
        {"token": (1, 1, 4), "place": (4,), "out.weight": (5, 4)},
    ),
    "an autoencoder that samples": model(
        lambda m, x: m.decode((z := m.mean(h := m.encode(x).relu())) + torch.randn_like(z) * 0 * m.spread(h).exp()),
        lambda: {
            "encode": nn.Linear(12, 8),
            "mean": nn.Linear(8, 4),
            "spread": nn.Linear(8, 4),
            "decode": nn.Linear(4, 12),
        },
        VECTOR,
        {"encode.weight": (4, 12), "mean.weight": (2, 4), "spread.weight": (2, 4), "decode.weight": (12, 2)},
    ),
}


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = F.gelu(layer(x))
    return x

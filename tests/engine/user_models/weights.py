"""Weights that are shared, computed, frozen, or used without a layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

from coppice.records.report import Check
from tests.engine.user_models.written import IMAGE, UserModel, conv, floats, model, tokens

A, B = (4, 3, 3, 3), (4, 4, 3, 3)  # what one half leaves of conv(3, 8) and of conv(8, 4) behind it
VECTOR = floats((4, 12))


class Standardised(nn.Conv2d):
    """Weight standardisation as its paper's code writes it."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        weight = weight / (weight.flatten(1).std(dim=1).view(-1, 1, 1, 1) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ByBatchNorm(nn.Conv2d):
    """Weight standardisation as timm's ScaledStdConv2d writes it."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out, 3, padding=1)
        self.gain = nn.Parameter(torch.full((out, 1, 1, 1), 1.1))
        self.scale = (into * 9) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1),
            None,
            None,
            weight=(self.gain * self.scale).view(-1),
            training=True,
            momentum=0.0,
            eps=1e-6,
        ).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, padding=1)


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.tanh()


def _of_old(part: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and in many a user's code
        return nn.utils.weight_norm(part)


def _wrapped(wrap: Callable[[nn.Module], nn.Module], left: Mapping[str, tuple[int, ...]]) -> UserModel:
    return model(lambda m, x: m.b(m.a(x).relu()), lambda: {"a": wrap(conv(3, 8)), "b": wrap(conv(8, 4))}, IMAGE, left)


def _tied(m: Any, x: Tensor) -> Tensor:
    return F.linear(m.body(m.embed(x)).relu(), m.embed.weight)


class TiedHead(nn.Module):
    """A decoder whose weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 16)
        self.body = nn.Linear(16, 16)
        self.out = nn.Linear(16, 9)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.embed(x)).relu())  # type: ignore[no-any-return]


def _frozen(part: nn.Module) -> nn.Module:
    return part.requires_grad_(False)


def _under_no_grad(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.a(x)
    return m.b(y.detach().relu())  # type: ignore[no-any-return]


def _mixture(m: Any, x: Tensor) -> Tensor:
    weights = m.gate(x).softmax(-1)
    return m.out(sum(weights[:, i : i + 1] * expert(x) for i, expert in enumerate(m.experts)))  # type: ignore[no-any-return]


def _behind_mask(part: nn.Module) -> nn.Module:
    prune.l1_unstructured(part, "weight", amount=0.3)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return part


MODELS: dict[str, UserModel] = {
    "weight norm": _wrapped(
        parametrizations.weight_norm,
        {
            "a.parametrizations.weight.original0": (4, 1, 1, 1),
            "a.parametrizations.weight.original1": A,
            "b.parametrizations.weight.original0": (4, 1, 1, 1),
            "b.parametrizations.weight.original1": B,
        },
    ),
    "weight norm of old": _wrapped(_of_old, {"a.weight_g": (4, 1, 1, 1), "a.weight_v": A, "b.weight_v": B}),
    "weight norm over the inputs": _wrapped(
        lambda part: parametrizations.weight_norm(part, dim=1),
        {"a.parametrizations.weight.original1": A, "b.parametrizations.weight.original0": (1, 4, 1, 1)},
    ),
    "weight norm over everything": _wrapped(
        lambda part: parametrizations.weight_norm(part, dim=-1),
        {"a.parametrizations.weight.original1": A, "b.parametrizations.weight.original1": B},
    ),
    "spectral norm": _wrapped(
        parametrizations.spectral_norm,
        {"a.parametrizations.weight.original": A, "b.parametrizations.weight.original": B},
    ),
    "spectral norm of old": _wrapped(nn.utils.spectral_norm, {"a.weight_orig": A, "b.weight_orig": B}),
    "weights behind masks": model(
        lambda m, x: m.b(m.d(m.a(x)).relu()),
        lambda: {
            "a": _behind_mask(conv(3, 8)),
            "d": _behind_mask(conv(8, 8, groups=8)),
            "b": _behind_mask(conv(8, 4)),
        },
        IMAGE,
        {"a.weight_orig": A, "a.weight_mask": A, "d.weight_orig": (4, 1, 3, 3), "b.weight_mask": B},
    ),
    "a parametrization of the user's own": model(
        lambda m, x: m.b(m.a(x).relu()),
        lambda: {
            "a": parametrize.register_parametrization(nn.Linear(12, 8), "weight", Doubled()),
            "b": nn.Linear(8, 4),
        },
        VECTOR,
        {"a.parametrizations.weight.original": (4, 12), "b.weight": (4, 4)},
    ),
    "a symmetric matrix": model(
        lambda m, x: m.b(m.s(m.a(x))),
        lambda: {
            "a": nn.Linear(12, 8),
            "s": parametrize.register_parametrization(nn.Linear(8, 8), "weight", Symmetric()),
            "b": nn.Linear(8, 4),
        },
        VECTOR,
        {"a.weight": (8, 12)},
        reason="values chosen by position",
    ),
    "weight standardisation": model(
        lambda m, x: m.b(m.a(x)),
        lambda: {"a": Standardised(3, 8, 3, padding=1), "b": Standardised(8, 4, 3, padding=1)},
        IMAGE,
        {"a.weight": A, "b.weight": B},
        check=Check.STATISTICS,
    ),
    "weight standardisation by batch norm": model(
        lambda m, x: m.b(m.a(x)),
        lambda: {"a": ByBatchNorm(3, 8), "b": ByBatchNorm(8, 4)},
        IMAGE,
        {"a.weight": A, "a.gain": (4, 1, 1, 1), "b.weight": B},
        check=Check.STATISTICS,
    ),
    "bare parameters in functions": model(
        lambda m, x: F.conv2d(F.conv2d(x, m.w, m.bias, padding=1).relu(), m.v),
        lambda: {
            "w": nn.Parameter(torch.randn(8, 3, 3, 3)),
            "bias": nn.Parameter(torch.randn(8)),
            "v": nn.Parameter(torch.randn(4, 8, 1, 1)),
        },
        IMAGE,
        {"w": A, "bias": (4,), "v": (4, 4, 1, 1)},
    ),
    "einsum with parameters": model(
        lambda m, x: torch.einsum("bchw,oc->bohw", torch.einsum("bchw,oc->bohw", x, m.w).relu(), m.v),
        lambda: {"w": nn.Parameter(torch.randn(8, 3)), "v": nn.Parameter(torch.randn(4, 8))},
        IMAGE,
        {"w": (4, 3), "v": (4, 4)},
    ),
    "a parameter list of scales": model(
        lambda m, x: m.b(m.a(x) * m.scales[0].view(1, -1, 1, 1) + m.scales[1][:, None, None]),
        lambda: {
            "a": conv(3, 8),
            "b": conv(8, 4),
            "scales": nn.ParameterList([nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(8))]),
        },
        IMAGE,
        {"a.weight": A, "scales.0": (4,), "scales.1": (4,), "b.weight": B},
    ),
    "one convolution called twice": model(
        lambda m, x: m.b(m.s(m.s(m.a(x)).relu())),
        lambda: {"a": conv(3, 8), "s": conv(8, 8), "b": conv(8, 4)},
        IMAGE,
        {"a.weight": A, "s.weight": (4, 4, 3, 3), "b.weight": B},
    ),
    "an autoencoder with tied weights": model(
        lambda m, x: F.linear(F.linear(x, m.w, m.bias).relu(), m.w.t()),
        lambda: {"w": nn.Parameter(torch.randn(6, 12)), "bias": nn.Parameter(torch.randn(6))},
        VECTOR,
        {"w": (3, 12), "bias": (3,)},
    ),
    "embeddings tied in the forward": model(
        _tied,
        lambda: {"embed": nn.Embedding(9, 16), "body": nn.Linear(16, 16)},
        tokens(2, 5),
        {"embed.weight": (9, 8), "body.weight": (8, 8)},
    ),
    "embeddings tied as a parameter": UserModel(
        build=TiedHead,
        inputs=tokens(2, 5),
        left={"embed.weight": (9, 8), "body.weight": (8, 8), "out.bias": (9,)},
    ),
    "a bag of embeddings": model(
        lambda m, x: m.out(m.mean(x) + m.most(x)),
        lambda: {
            "mean": nn.EmbeddingBag(9, 16),
            "most": nn.EmbeddingBag(9, 16, mode="max"),
            "out": nn.Linear(16, 3),
        },
        tokens(2, 5),
        {"mean.weight": (9, 8), "most.weight": (9, 8), "out.weight": (3, 8)},
    ),
    "a bilinear layer": model(
        lambda m, x: m.out(m.both(m.a(x), m.b(x))),
        lambda: {"a": nn.Linear(12, 8), "b": nn.Linear(12, 6), "both": nn.Bilinear(8, 6, 4), "out": nn.Linear(4, 3)},
        VECTOR,
        {"a.weight": (4, 12), "b.weight": (3, 12), "both.weight": (2, 4, 3), "out.weight": (3, 2)},
    ),
    "weights that are frozen": model(
        lambda m, x: m.b(m.a(x)),
        lambda: {"a": _frozen(conv(3, 8)), "b": conv(8, 4)},
        IMAGE,
        {"a.weight": A, "b.weight": B},
    ),
    "a backbone without gradients": model(
        _under_no_grad, lambda: {"a": conv(3, 8), "b": conv(8, 4)}, IMAGE, {"a.weight": A, "b.weight": B}
    ),
    "activations computed again": model(
        lambda m, x: m.b(checkpoint(m.a, x, use_reentrant=False)),
        lambda: {"a": nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU()), "b": conv(8, 4)},
        IMAGE,
        {"a.0.weight": A, "b.weight": B},
    ),
    "a lazy layer that has seen data": model(
        lambda m, x: m.b(m.a(x).relu()),
        lambda: {"a": _seen(nn.LazyLinear(8)), "b": nn.Linear(8, 4)},
        VECTOR,
        {"a.weight": (4, 12), "b.weight": (4, 4)},
    ),
    "a mixture of experts": model(
        _mixture,
        lambda: {
            "gate": nn.Linear(12, 2),
            "experts": nn.ModuleList([nn.Linear(12, 8), nn.Linear(12, 8)]),
            "out": nn.Linear(8, 3),
        },
        VECTOR,
        {"gate.weight": (2, 12), "experts.0.weight": (4, 12), "experts.1.weight": (4, 12), "out.weight": (3, 4)},
    ),
}


def _seen(layer: nn.Module) -> nn.Module:
    layer(torch.zeros(1, 12))
    return layer

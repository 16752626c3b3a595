"""Convolutional models with something that the textbook does not have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice.records.report import Check
from tests.engine.user_models.written import IMAGE, UserModel, conv, floats, model

A, B = (4, 3, 3, 3), (4, 4, 3, 3)  # what one half leaves of conv(3, 8) and of conv(8, 4) behind it


def pair(middle: int = 8, into: int | None = None, **more: Any) -> Any:
    return lambda: {
        "a": conv(3, middle),
        "b": conv(into or middle, 4),
        **{name: make() for name, make in more.items()},
    }


def _attention_module(m: Any, x: Tensor) -> Tensor:
    y = m.a(x).relu()
    squeezed = m.up(m.down(y.mean((2, 3), keepdim=True)).relu()) + m.up(m.down(y.amax((2, 3), keepdim=True)).relu())
    y = y * squeezed.sigmoid()
    place = torch.cat([y.mean(1, keepdim=True), y.max(1, keepdim=True)[0]], dim=1)
    return m.b(y * m.place(place).sigmoid())  # type: ignore[no-any-return]


def _eca(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    weights = m.k(F.adaptive_avg_pool2d(y, 1).squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
    return m.b(y * weights.sigmoid().expand_as(y))  # type: ignore[no-any-return]


def _c2f(m: Any, x: Tensor) -> Tensor:
    y = list(m.a(x).chunk(2, 1))
    y.extend(block(y[-1]) for block in m.blocks)
    return m.b(torch.cat(y, 1))  # type: ignore[no-any-return]


def _unet(m: Any, x: Tensor) -> Tensor:
    high = m.down(x).relu()
    low = m.low(F.max_pool2d(high, 2)).relu()
    return m.head(torch.cat([F.interpolate(low, scale_factor=2), m.up(low), high], 1))  # type: ignore[no-any-return]


def _shuffle(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    n, c, h, w = y.size()
    return m.b(y.view(n, 4, c // 4, h, w).transpose(1, 2).contiguous().view(n, -1, h, w))  # type: ignore[no-any-return]


def _option_a(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    short = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
    return m.b(m.wide(y) + short)  # type: ignore[no-any-return]


def _blur(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.b(F.conv2d(F.pad(y, (1, 1, 1, 1), "reflect"), m.kernel, stride=2, groups=y.shape[1]))  # type: ignore[no-any-return]


def _blur_expanded(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    kernel = m.kernel[None, None].expand(y.shape[1], 1, -1, -1)
    return m.b(F.conv2d(y, kernel, padding=1, groups=y.shape[1]))  # type: ignore[no-any-return]


def _warp(m: Any, x: Tensor) -> Tensor:
    grid = m.flow(x).tanh().permute(0, 2, 3, 1)
    return m.b(F.grid_sample(m.a(x), grid, align_corners=False))  # type: ignore[no-any-return]


MODELS: dict[str, UserModel] = {
    "a U-Net that joins three": model(
        _unet,
        lambda: {
            "down": conv(3, 8),
            "low": conv(8, 16),
            "up": nn.ConvTranspose2d(16, 8, 2, stride=2),
            "head": conv(32, 4),
        },
        IMAGE,
        {
            "down.weight": (4, 3, 3, 3),
            "low.weight": (8, 4, 3, 3),
            "up.weight": (8, 4, 2, 2),
            "head.weight": (4, 16, 3, 3),
        },
    ),
    "one dimension, transposed and grouped": model(
        lambda m, x: m.c(m.b(m.a(x))),
        lambda: {
            "a": nn.Conv1d(3, 8, 3),
            "b": nn.ConvTranspose1d(8, 12, 2, groups=4),
            "c": nn.Conv1d(12, 4, 3, padding="same"),
        },
        floats((2, 3, 20)),
        {"a.weight": (4, 3, 3), "b.weight": (4, 2, 2), "c.weight": (4, 8, 3)},
    ),
    "three dimensions, depthwise and transposed": model(
        lambda m, x: m.d(m.c(m.b(m.a(x)).relu())),
        lambda: {
            "a": nn.Conv3d(3, 8, 1),
            "b": nn.Conv3d(8, 8, 3, groups=8),
            "c": nn.ConvTranspose3d(8, 6, 2, stride=2),
            "d": nn.Conv3d(6, 2, 1),
        },
        floats((2, 3, 4, 4, 4)),
        {
            "a.weight": (4, 3, 1, 1, 1),
            "b.weight": (4, 1, 3, 3, 3),
            "c.weight": (4, 3, 2, 2, 2),
            "d.weight": (2, 3, 1, 1, 1),
        },
    ),
    "depthwise with two filters per channel": model(
        lambda m, x: m.b(m.d(m.a(x)).relu()),
        pair(8, 16, d=lambda: conv(8, 16, groups=8)),
        IMAGE,
        {"a.weight": A, "d.weight": (8, 1, 3, 3), "b.weight": (4, 8, 3, 3)},
    ),
    "transposed depthwise with two filters per channel": model(
        lambda m, x: m.b(m.d(m.a(x)).relu()),
        pair(8, 16, d=lambda: nn.ConvTranspose2d(8, 16, 2, stride=2, groups=8)),
        IMAGE,
        {"a.weight": A, "d.weight": (4, 2, 2, 2), "b.weight": (4, 8, 3, 3)},
    ),
    "grouped convolutions of different groups": model(
        lambda m, x: m.b(m.h(m.g(m.a(x)).relu())),
        pair(24, 24, g=lambda: conv(24, 24, groups=4), h=lambda: conv(24, 24, groups=6)),
        IMAGE,
        {"a.weight": (12, 3, 3, 3), "g.weight": (12, 3, 3, 3), "h.weight": (12, 2, 3, 3), "b.weight": (4, 12, 3, 3)},
    ),
    "convolution, attention over channels and over places": model(
        _attention_module,
        pair(8, 8, down=lambda: conv(8, 4, 1), up=lambda: conv(4, 8, 1), place=lambda: conv(2, 1, 7)),
        IMAGE,
        {
            "a.weight": A,
            "down.weight": (2, 4, 1, 1),
            "up.weight": (4, 2, 1, 1),
            "place.weight": (1, 2, 7, 7),
            "b.weight": B,
        },
        check=Check.STATISTICS,
    ),
    "a convolution along the channels": model(
        _eca,
        pair(8, 8, k=lambda: nn.Conv1d(1, 1, 3, padding=1, bias=False)),
        IMAGE,
        {"a.weight": A, "b.weight": B, "k.weight": (1, 1, 3)},
        check=Check.STATISTICS,
    ),
    "halves that pass through blocks and are joined": model(
        _c2f,
        lambda: {"a": conv(3, 16), "blocks": nn.ModuleList([conv(8, 8), conv(8, 8)]), "b": conv(32, 4)},
        IMAGE,
        {"a.weight": (8, 3, 3, 3), "blocks.0.weight": (4, 4, 3, 3), "b.weight": (4, 16, 3, 3)},
    ),
    "halves by slicing": model(
        lambda m, x: m.b((y := m.a(x))[:, : y.shape[1] // 2] * y[:, y.shape[1] // 2 :].sigmoid()),
        pair(16, 8),
        IMAGE,
        {"a.weight": (8, 3, 3, 3), "b.weight": (4, 4, 3, 3)},
    ),
    "every other channel by slicing": model(
        lambda m, x: m.b((y := m.a(x))[:, ::2] * y[:, 1::2].sigmoid()),
        pair(16, 8),
        IMAGE,
        {"a.weight": (8, 3, 3, 3), "b.weight": (4, 4, 3, 3)},
    ),
    "three parts by their sizes": model(
        lambda m, x: torch.cat([part(y) for part, y in zip(m.parts, m.a(x).split([4, 4, 8], 1), strict=True)], 1),
        lambda: {"a": conv(3, 16), "parts": nn.ModuleList([conv(4, 2), conv(4, 2), conv(8, 2)])},
        IMAGE,
        {"a.weight": (16, 3, 3, 3)},
        reason="counted by a hard-coded 4: split",
    ),
    "pixel shuffle in the middle": model(
        lambda m, x: m.b(F.pixel_shuffle(m.a(x), 2).relu()),
        pair(32, 8),
        IMAGE,
        {"a.weight": (16, 3, 3, 3), "b.weight": B},
    ),
    "pixel unshuffle in the middle": model(
        lambda m, x: m.b(m.s(m.a(x))),
        pair(4, 16, s=lambda: nn.PixelUnshuffle(2)),
        IMAGE,
        {"a.weight": (2, 3, 3, 3), "b.weight": (4, 8, 3, 3)},
    ),
    "space to depth by strides": model(
        lambda m, x: m.b(torch.cat([m.a(x)[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)),
        pair(4, 16),
        IMAGE,
        {"a.weight": (2, 3, 3, 3), "b.weight": (4, 8, 3, 3)},
    ),
    "channel shuffle by view": model(_shuffle, pair(16), IMAGE, {"a.weight": (8, 3, 3, 3), "b.weight": (4, 8, 3, 3)}),
    "channel shuffle by its layer": model(
        lambda m, x: m.b(m.s(m.a(x))),
        pair(16, s=lambda: nn.ChannelShuffle(4)),
        IMAGE,
        {"a.weight": (8, 3, 3, 3), "b.weight": (4, 8, 3, 3)},
    ),
    "a shortcut by strides and padding": model(
        _option_a,
        pair(8, 16, wide=lambda: conv(8, 16, stride=2)),
        IMAGE,
        {"a.weight": A, "wide.weight": (12, 4, 3, 3), "b.weight": (4, 12, 3, 3)},
        reason="combined with a fixed position",
    ),
    "blurring with a kernel for each channel": model(
        _blur,
        lambda: {"a": conv(3, 8), "b": conv(8, 4), "kernel": nn.Buffer(torch.ones(8, 1, 3, 3) / 9)},
        IMAGE,
        {"a.weight": A, "b.weight": B, "kernel": (4, 1, 3, 3)},
    ),
    "blurring with one kernel expanded": model(
        _blur_expanded,
        lambda: {"a": conv(3, 8), "b": conv(8, 4), "kernel": nn.Buffer(torch.rand(3, 3))},
        IMAGE,
        {"a.weight": A, "b.weight": B},
    ),
    "windows unfolded and folded": model(
        lambda m, x: m.b(F.fold(F.unfold(m.a(x), 2, stride=2), (8, 8), 2, stride=2)),
        pair(),
        IMAGE,
        {"a.weight": A, "b.weight": B},
    ),
    "sampling along a learned flow": model(
        _warp, pair(8, 8, flow=lambda: conv(3, 2)), IMAGE, {"a.weight": A, "b.weight": B}
    ),
    "maxout": model(
        lambda m, x: m.b((y := m.a(x)).view(y.shape[0], 2, -1, 8, 8).amax(1)),
        pair(16, 8),
        IMAGE,
        {"a.weight": (8, 3, 3, 3), "b.weight": B},
    ),
    "a flip of the channels": model(lambda m, x: m.b(m.a(x).flip(1)), pair(), IMAGE, {"a.weight": A, "b.weight": B}),
    "a roll of the channels": model(
        lambda m, x: m.b(m.a(x).roll(1, 1)), pair(), IMAGE, {"a.weight": (8, 3, 3, 3)}, reason="rolled by a number"
    ),
    "two maps flattened and joined": model(
        lambda m, x: m.out(torch.cat([m.a(x).flatten(1), m.c(x).permute(0, 2, 3, 1).flatten(1)], 1)),
        lambda: {"a": conv(3, 8), "c": conv(3, 4), "out": nn.Linear(768, 5)},
        IMAGE,
        {"a.weight": A, "c.weight": (2, 3, 3, 3), "out.weight": (5, 384)},
    ),
    "pooling of every kind": model(
        lambda m, x: m.out(
            torch.cat(
                [
                    F.adaptive_avg_pool2d(y := m.a(x), 1).view(y.size(0), -1),
                    F.adaptive_max_pool2d(y, 1).flatten(1),
                    F.lp_pool2d(y, 2.0, 8).flatten(1),
                    F.avg_pool2d(y, 8).flatten(1),
                    y.mean((-2, -1)),
                    y.flatten(2).max(-1).values,
                    y.flatten(2).std(-1),
                ],
                1,
            )
        ),
        lambda: {"a": conv(3, 8), "out": nn.Linear(56, 5)},
        IMAGE,
        {"a.weight": A, "out.weight": (5, 28)},
    ),
    "spectra of the image": model(
        lambda m, x: m.b(torch.fft.irfft2(torch.fft.rfft2(m.a(x)) * 0.5)),
        pair(),
        IMAGE,
        {"a.weight": A, "b.weight": B},
    ),
}

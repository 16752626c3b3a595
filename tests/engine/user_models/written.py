"""How the user models are written down: a forward, its parts, its inputs, and what one half must leave of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coppice.records.report import Check

Inputs = Callable[[], tuple[Tensor, ...]]


class Written(nn.Module):
    """Parts by name (layers, parameters, buffers, plain values), and the user's forward over them."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(self, *inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserModel:
    build: Callable[[], nn.Module]
    inputs: Inputs
    left: Mapping[str, tuple[int, ...]]  # shapes of parameters after one half of every group went, worked out by hand
    check: Check = Check.EXACT
    reason: str = ""  # part of the reason why something stays


def model(
    forward: Callable[..., Any],
    parts: Callable[[], dict[str, Any]],
    inputs: Inputs,
    left: Mapping[str, tuple[int, ...]],
    **rest: Any,
) -> UserModel:
    """A user model given by its forward and a maker of its parts."""
    return UserModel(build=lambda: Written(forward, **parts()), inputs=inputs, left=left, **rest)


def floats(*shapes: tuple[int, ...]) -> Inputs:
    """Normal numbers of these shapes, batch included."""

    def draw() -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(1)
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    return draw


def tokens(*shape: int, below: int = 9) -> Inputs:
    """Integers of one shape."""
    return lambda: (torch.randint(below, shape, generator=torch.Generator().manual_seed(1)),)


def conv(into: int, out: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that keeps the size of the image."""
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, **options)


IMAGE = floats((2, 3, 8, 8))
SERIES = floats((2, 10, 6))

"""Where a window falls: ONNX's paddings, written out or automatic, in positions before and after each axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from coppice.onnx_operators.node import OnnxNode

Pads = list[tuple[int, int]]


def text(value: object) -> str:
    """An attribute that is text, which readers give as bytes or as text."""
    return value.decode() if isinstance(value, bytes) else str(value or "")


def numbers(node: OnnxNode, name: str, rank: int) -> list[int]:
    """A list attribute with one number per spatial axis; ones where it is left out."""
    return list(node.attribute(name) or [1] * rank)


def pads(
    node: OnnxNode, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """Positions before and after each spatial axis."""
    kind = text(node.attribute("auto_pad", "NOTSET"))
    if kind == "VALID":
        return [(0, 0)] * len(size)
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        return [_same(*axis, upper=kind == "SAME_UPPER") for axis in zip(size, kernel, stride, dilation, strict=True)]
    stated = list(node.attribute("pads") or [0] * 2 * len(size))
    return list(zip(stated[: len(size)], stated[len(size) :], strict=True))


def _same(size: int, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[int, int]:
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def padded(x: Tensor, around: Pads, value: float = 0.0) -> Tensor:
    """The tensor with that many positions more on its last axes."""
    flat = [count for before, after in reversed(around) for count in (before, after)]
    return F.pad(x, flat, value=value) if any(flat) else x


def symmetric(around: Pads) -> bool:
    """Whether torch's own operators can pad like this: the same on both sides."""
    return all(before == after for before, after in around)

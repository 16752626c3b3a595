"""Which position of its input each offset of a convolution's kernel reads, for every position of the output.

A plain and a transposed convolution differ here and nowhere else: with `q` a position of the output and `k` an offset
in the kernel, the one reads position `q * stride - padding + k * dilation`, the other `(q + padding - k * dilation) /
stride` where that is a whole number. Axes are independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How a convolution's kernel lies on its input, per spatial axis."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool


def taps(window: Window, kernel: Sequence[int], read: Sequence[int], written: Sequence[int]) -> Tensor:
    """Positions of the input, flat, shape (positions of the output, offsets of the kernel); `numel(read)` is padding.

    `kernel`, `read` and `written` are the spatial shapes of the kernel, the input and the output.
    """
    flat, inside = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    for axis, length in enumerate(read):
        at = _along(window, axis, kernel[axis], length, written[axis])  # shape (written, kernel), -1: nothing there
        flat = _crossed(flat * length, at.clamp(min=0), torch.add)
        inside = _crossed(inside, at >= 0, torch.logical_and)
    return torch.where(inside, flat, torch.tensor(read).prod())


def _along(window: Window, axis: int, kernel: int, read: int, written: int) -> Tensor:
    out, offset = torch.arange(written)[:, None], torch.arange(kernel)[None] * window.dilation[axis]
    stride, padding = window.stride[axis], window.padding[axis]
    if window.transposed:
        apart = out + padding - offset
        at, hit = apart.div(stride, rounding_mode="floor"), apart % stride == 0
    else:
        at = out * stride - padding + offset
        hit = torch.ones_like(at, dtype=torch.bool)
    return at.where(hit & (at >= 0) & (at < read), torch.tensor(-1))


def _crossed(outer: Tensor, inner: Tensor, combine: object) -> Tensor:
    """Every row and column of one with every row and column of the other: the later axis runs fastest."""
    rows, columns = outer.shape[0] * inner.shape[0], outer.shape[1] * inner.shape[1]
    crossed: Tensor = combine(outer[:, None, :, None], inner[None, :, None, :])  # type: ignore[operator]
    return crossed.reshape(rows, columns)

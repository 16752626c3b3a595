"""Images of another size: every way of TensorFlow's to choose and weigh the pixels that a new one is made of.

Whole factors and the ways that torch has are left to torch; the others are a matrix per axis, made here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_TORCH = {"bilinear": "bilinear", "nearest": "nearest-exact"}


def _sinc(x: Tensor) -> Tensor:
    return torch.sinc(x)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel as TensorFlow has it, with -1/2; torch's own has -3/4."""
    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x >= 1, far, near)


def _mitchell(x: Tensor) -> Tensor:
    near = ((7.0 * x - 12.0) * x * x + 16.0 / 3.0) / 6.0
    far = (((-7.0 / 3.0 * x + 12.0) * x - 20.0) * x + 32.0 / 3.0) / 6.0
    return torch.where(x >= 1, far, near)


#: Weight by distance, and the distance from which on nothing counts.
_KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "bilinear": (lambda x: 1.0 - x, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos3": (lambda x: _sinc(x) * _sinc(x / 3), 3.0),
    "lanczos5": (lambda x: _sinc(x) * _sinc(x / 5), 5.0),
    "gaussian": (lambda x: torch.exp(-x * x / (2 * 0.5**2)), 1.5),
    "mitchellcubic": (_mitchell, 2.0),
}
METHODS = frozenset({*_KERNELS, "nearest", "area"})


def resampled(
    x: Tensor, size: tuple[int, ...], method: str, *, align_corners: bool = False, half_pixels: bool = True
) -> Tensor:
    """Images (samples, rows, columns, channels) at that size."""
    if half_pixels and method in _TORCH:
        y = F.interpolate(x.movedim(x.dim() - 1, 1), size=list(size), mode=_TORCH[method])
        return y.movedim(1, y.dim() - 1)
    for axis, length in enumerate(size, start=1):
        weights = _weights(x.shape[axis], length, method, align_corners, half_pixels).to(x)
        x = (x.movedim(axis, -1) @ weights.t()).movedim(-1, axis)
    return x


def _weights(old: int, new: int, method: str, align_corners: bool, half_pixels: bool) -> Tensor:
    """What each old pixel of an axis gives to each new one, (new, old)."""
    step = (old - 1) / (new - 1) if align_corners and new > 1 else old / new
    here, there = torch.arange(new, dtype=torch.float64), torch.arange(old, dtype=torch.float64)
    if method == "area":
        overlap = torch.minimum(there + 1, (here[:, None] + 1) * step) - torch.maximum(there, here[:, None] * step)
        return overlap.clamp(min=0) / step
    if method == "nearest":
        place = here * step
        taken = torch.floor(place + 0.5) if align_corners else torch.floor(place + (0.5 * step if half_pixels else 0))
        return F.one_hot(taken.long().clamp(max=old - 1), old).double()
    kernel, radius = _KERNELS[method]
    centre = (here + 0.5) * step - 0.5 if half_pixels else here * step
    centre = centre.clamp(0, old - 1) if method == "bilinear" else centre
    distance = (there - centre[:, None]).abs()
    weights = torch.where(distance < radius, kernel(distance), torch.zeros_like(distance))
    return weights / weights.sum(dim=1, keepdim=True)


def smart_box(rows: int, columns: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The middle of an image with the proportions of `size`: first row and column, rows and columns of it."""
    height, width = min(rows, columns * size[0] // size[1]), min(columns, rows * size[1] // size[0])
    return math.floor((rows - height) / 2), math.floor((columns - width) / 2), height, width


def smart_resized(x: Tensor, size: tuple[int, int], method: str = "bilinear") -> Tensor:
    """The largest middle part with the proportions of `size`, at that size, as `smart_resize` of Keras has it."""
    top, left, height, width = smart_box(x.shape[1], x.shape[2], size)
    return resampled(x.narrow(1, top, height).narrow(2, left, width), size, method)

"""Operations between layers on images, by meaning; part of the table of `meanings.py`. Channels come last."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.keras_layers.configuration import plain
from coppice.keras_layers.elementwise import Operation
from coppice.keras_layers.padding import Window, same_amounts, split_padding
from coppice.keras_layers.resampling import METHODS, resampled


def depth_to_space(x: Tensor, block: Any) -> Tensor:
    """Channels laid out as blocks of positions; TensorFlow numbers the block first, then what is left of a channel."""
    n, height, width, channels = x.shape
    b = int(block)
    y = x.reshape(n, height, width, b, b, channels // (b * b)).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, height * b, width * b, channels // (b * b))


def space_to_depth(x: Tensor, block: Any) -> Tensor:
    """The reverse of `depth_to_space`."""
    n, height, width, channels = x.shape
    b = int(block)
    y = x.reshape(n, height // b, b, width // b, b, channels).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(n, height // b, width // b, b * b * channels)


def resize(
    x: Tensor,
    size: Any,
    method: Any = "bilinear",
    *,
    align_corners: Any = False,
    half_pixels: Any = True,
    antialias: Any = False,
    **kept_as_it_is: Any,
) -> Tensor:
    """Any of TensorFlow's methods; `antialias` and what keeps proportions are refused."""
    asked = [
        key
        for key in ("preserve_aspect_ratio", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
        if kept_as_it_is.get(key)
    ]
    kind = str(method).lower()
    if asked or antialias or kind not in METHODS or x.dim() != 4:
        raise TypeError(f"method={kind}, antialias={antialias}, {asked}")
    height, width = (int(one) for one in plain(size))
    return resampled(x, (height, width), kind, align_corners=bool(align_corners), half_pixels=bool(half_pixels))


def _numbers(value: Any) -> tuple[int, int]:
    """A window's two numbers, stated as one, as two, or as four with batch and channels."""
    stated = plain(value)
    if isinstance(stated, int):
        return stated, stated
    rows, columns = stated[1:3] if len(stated) == 4 else (stated[0], stated[-1])
    return int(rows), int(columns)


def _windows(x: Tensor, size: Any, strides: Any, padding: Any) -> tuple[Tensor, Window, list[tuple[int, int]]]:
    extent = _numbers(size)
    window = Window(extent, extent if strides is None else _numbers(strides), (1, 1))
    first = x.movedim(x.dim() - 1, 1)
    same = str(padding).lower() == "same"
    return first, window, same_amounts(window, tuple(first.shape[2:])) if same else [(0, 0), (0, 0)]


def max_pool(x: Tensor, size: Any, strides: Any = None, padding: Any = "valid") -> Tensor:
    """The largest value of each window."""
    first, window, around = _windows(x, size, strides, padding)
    padded, rest = split_padding(first, around, value=float("-inf"))
    return F.max_pool2d(padded, window.size, window.strides, rest).movedim(1, 3)


def average_pool(x: Tensor, size: Any, strides: Any = None, padding: Any = "valid") -> Tensor:
    """The mean of the real positions of each window."""
    first, window, around = _windows(x, size, strides, padding)
    padded, _ = split_padding(first, [(a, b) for a, b in around])
    flat = [amount for pair in reversed(around) for amount in pair]
    share = F.avg_pool2d(F.pad(first.new_ones(1, 1, *first.shape[2:]), flat), window.size, window.strides)
    if padded is first:
        padded = F.pad(first, flat)
    return (F.avg_pool2d(padded, window.size, window.strides) / share).movedim(1, 3)


def pool2d(
    x: Tensor, size: Any, strides: Any = (1, 1), padding: Any = "valid", pool_mode: str = "max", **_named: Any
) -> Tensor:
    """Either of them, as Keras' own backend writes it."""
    return (max_pool if pool_mode == "max" else average_pool)(x, size, strides, padding)


def local_response_normalization(
    x: Tensor, depth_radius: Any = 5, bias: Any = 1.0, alpha: Any = 1.0, beta: Any = 0.5
) -> Tensor:
    """Divided by what the squares of the neighbouring channels sum to."""
    size = 2 * int(depth_radius) + 1
    # torch takes the mean where TensorFlow takes the sum.
    y = F.local_response_norm(x.movedim(x.dim() - 1, 1), size, float(alpha) * size, float(beta), float(bias))
    return y.movedim(1, y.dim() - 1)


def gray(x: Tensor) -> Tensor:
    """Red, green and blue by how bright they seem."""
    return (x * torch.tensor([0.2989, 0.5870, 0.1140], dtype=x.dtype, device=x.device)).sum(dim=-1, keepdim=True)


def pad_images(x: Tensor, **amounts: Any) -> Tensor:
    """Zeros around; Keras states two of the three numbers of each axis."""
    top, left, bottom, right = _around(x, amounts)
    return F.pad(x, [0, 0, left, right, top, bottom])


def crop_images(x: Tensor, **amounts: Any) -> Tensor:
    """The part within."""
    top, left, bottom, right = _around(x, amounts, inwards=True)
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _around(x: Tensor, amounts: dict[str, Any], *, inwards: bool = False) -> tuple[int, int, int, int]:
    found = []
    for names, target, size in (
        (("top", "bottom"), "target_height", x.shape[1]),
        (("left", "right"), "target_width", x.shape[2]),
    ):
        first, last = (_amount(amounts, name) for name in names)
        missing = (int(amounts[target]) - size) * (-1 if inwards else 1) if target in amounts else 0
        first = missing - (last or 0) if first is None else first
        found.append((first, missing - first if last is None else last))
    (top, bottom), (left, right) = found
    return top, left, bottom, right


def _amount(amounts: dict[str, Any], name: str) -> int | None:
    stated = next((amounts[key] for key in (name, f"{name}_padding", f"{name}_cropping") if key in amounts), None)
    return None if stated is None else int(stated)


def central_crop(x: Tensor, fraction: Any) -> Tensor:
    """The middle, as TensorFlow rounds it."""
    share = float(fraction)
    for axis in (1, 2):
        first = int((x.shape[axis] - x.shape[axis] * share) / 2)
        x = x.narrow(axis, first, x.shape[axis] - 2 * first)
    return x


def standardized(x: Tensor) -> Tensor:
    """Every image with mean 0 and variance 1; one that is all alike is divided by the root of its size instead."""
    over = (1, 2, 3)
    deviation = torch.sqrt(x.var(dim=over, correction=0, keepdim=True))
    floor = (x.shape[1] * x.shape[2] * x.shape[3]) ** -0.5
    return (x - x.mean(dim=over, keepdim=True)) / torch.clamp(deviation, min=floor)


def patches(
    x: Tensor, sizes: Any = None, strides: Any = None, rates: Any = 1, padding: Any = "valid", **_named: Any
) -> Tensor:
    """The windows of an image, each as one vector: rows, columns, channels."""
    _, window, around = _windows(x, sizes, strides, padding)
    if _numbers(rates) != (1, 1) or any(amount for pair in around for amount in pair):
        raise TypeError(f"rates={rates}, padding={padding}")
    (rows, columns), (down, right) = window.size, window.strides
    cut = x.unfold(1, rows, down).unfold(2, columns, right)
    return cut.permute(0, 1, 2, 4, 5, 3).reshape(*cut.shape[:3], -1)


IMAGES: dict[str, Operation] = {
    "depth_to_space": depth_to_space,
    "space_to_depth": space_to_depth,
    "resize": resize,
    "max_pool": max_pool,
    "average_pool": average_pool,
    "pool2d": pool2d,
    "local_response_normalization": local_response_normalization,
    "gray": gray,
    "colored": lambda x: x.repeat(1, 1, 1, 3),
    "standardized": standardized,
    "central_crop": central_crop,
    "flip_columns": lambda x: x.flip(2),
    "flip_rows": lambda x: x.flip(1),
    "pad_images": pad_images,
    "crop_images": crop_images,
    "patches": patches,
}

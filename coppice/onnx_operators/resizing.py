"""Resize and Upsample: every axis by itself, as a weighted sum of picked positions.

One way for all modes, coordinate rules and numbers of axes; only the axes that are resized are touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text

#: Before this version Resize was Upsample under another name: corners at zero, nearest by rounding down.
_COORDINATES_SINCE = 11


@operator("Upsample", numbers=(1,))
def upsample(node: OnnxNode, x: Tensor, scales: list[float] | None = None) -> Tensor:
    """By factors; what Resize does with its oldest rules."""
    return _resized(node, x, list(node.option("scales", scales)), None, range(x.dim()), "asymmetric", "floor")


@operator("Resize", numbers=(1, 2, 3))
def resize(node: OnnxNode, x: Tensor, second: Any = None, third: Any = None, sizes: list[int] | None = None) -> Tensor:
    """By factors or to sizes."""
    if node.version < _COORDINATES_SINCE:
        return _resized(node, x, list(second), None, range(x.dim()), "asymmetric", "floor")
    axes = [axis % x.dim() for axis in node.attribute("axes") or range(x.dim())]
    rule = text(node.attribute("coordinate_transformation_mode", "half_pixel"))
    nearest = text(node.attribute("nearest_mode", "round_prefer_floor"))
    policy = text(node.attribute("keep_aspect_ratio_policy", "stretch"))
    if rule == "tf_crop_and_resize" or node.attribute("antialias", 0) or policy != "stretch":
        raise NotComputed("crops, smooths or keeps the aspect ratio")
    return _resized(node, x, list(third) if third else None, sizes or None, axes, rule, nearest)


def _resized(
    node: OnnxNode, x: Tensor, scales: list[float] | None, sizes: Any, axes: Any, rule: str, nearest: str
) -> Tensor:
    mode = text(node.attribute("mode", "nearest"))
    if node.remembered is None:
        node.remembered = [_stays(x.shape[axis], place, scales, sizes) for place, axis in enumerate(axes)]
    if sizes is not None:
        whole = [
            x.shape[axis] if stays else size for axis, stays, size in zip(axes, node.remembered, sizes, strict=True)
        ]
        node.stated[3] = sizes = whole
    for place, axis in enumerate(axes):
        if node.remembered[place]:
            continue
        length = x.shape[axis]
        scale = sizes[place] / length if sizes is not None else (scales or [])[place]
        wanted = sizes[place] if sizes is not None else math.floor(length * scale)
        at = _coordinates(wanted, length, scale, rule).to(x.device)
        x = _INTERPOLATE[mode](x, axis, at, node, nearest)
    return x


def _stays(length: int, place: int, scales: list[float] | None, sizes: Any) -> bool:
    """Whether an axis keeps its size: asked once, of the whole model, since a cut makes channels fewer than stated."""
    return bool(sizes[place] == length if sizes is not None else (scales or [])[place] == 1)


def _coordinates(wanted: int, length: int, scale: float, rule: str) -> Tensor:
    """Where each position of the result lies in the original."""
    place = torch.arange(wanted, dtype=torch.float64)
    if rule == "align_corners":
        return place * ((length - 1) / (wanted - 1)) if wanted > 1 else torch.zeros_like(place)
    if rule == "asymmetric":
        return place / scale
    if rule == "pytorch_half_pixel":
        return (place + 0.5) / scale - 0.5 if wanted > 1 else torch.zeros_like(place)
    if rule == "tf_half_pixel_for_nn":
        return (place + 0.5) / scale
    if rule == "half_pixel_symmetric":
        adjusted = wanted / (scale * length)
        return length / 2 * (1 - adjusted) + (place + 0.5) / scale - 0.5
    if rule == "half_pixel":
        return (place + 0.5) / scale - 0.5
    raise NotComputed(f"resizes by the coordinates {rule!r}")


_ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda at: torch.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: torch.floor(at + 0.5),
}


def _nearest(x: Tensor, axis: int, at: Tensor, _node: OnnxNode, nearest: str) -> Tensor:
    picked = _ROUND[nearest](at).clamp(0, x.shape[axis] - 1).to(torch.int64)
    return x.index_select(axis, picked)


def _linear(x: Tensor, axis: int, at: Tensor, _node: OnnxNode, _nearest_mode: str) -> Tensor:
    at = at.clamp(0, x.shape[axis] - 1)
    low = at.floor().clamp(max=max(x.shape[axis] - 2, 0))
    return _weighted(x, axis, [low, low + 1], [1 - (at - low), at - low])


def _cubic(x: Tensor, axis: int, at: Tensor, node: OnnxNode, _nearest_mode: str) -> Tensor:
    a, low = node.attribute("cubic_coeff_a", -0.75), at.floor()
    places = [low + step for step in (-1, 0, 1, 2)]
    weights = [_keys((at - place).abs(), a) for place in places]
    if node.attribute("exclude_outside", 0):
        inside = [(place >= 0) & (place <= x.shape[axis] - 1) for place in places]
        weights = [weight * within for weight, within in zip(weights, inside, strict=True)]
        total = torch.stack(weights).sum(0)
        weights = [weight / total for weight in weights]
    return _weighted(x, axis, places, weights)


def _keys(distance: Tensor, a: float) -> Tensor:
    """The kernel of Keys, Cubic convolution interpolation (1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def _weighted(x: Tensor, axis: int, places: list[Tensor], weights: list[Tensor]) -> Tensor:
    across = [1] * (x.dim() - axis - 1)
    terms = [
        x.index_select(axis, place.clamp(0, x.shape[axis] - 1).to(torch.int64))
        * weight.to(x.dtype).reshape(-1, *across)
        for place, weight in zip(places, weights, strict=True)
    ]
    return torch.stack(terms).sum(0)


_INTERPOLATE: dict[str, Callable[[Tensor, int, Tensor, OnnxNode, str], Tensor]] = {
    "nearest": _nearest,
    "linear": _linear,
    "bilinear": _linear,
    "cubic": _cubic,
}


@operator("GridSample")
def grid_sample(node: OnnxNode, x: Tensor, grid: Tensor) -> Tensor:
    """Values at the places that a grid names."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(text(node.attribute("mode", "linear")))
    return torch.nn.functional.grid_sample(
        x,
        grid,
        mode or text(node.attribute("mode", "bilinear")),
        text(node.attribute("padding_mode", "zeros")),
        bool(node.attribute("align_corners", 0)),
    )

"""Picking and placing by index tensors."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode, as_tensor
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text


@operator("Gather", numbers=())
def gather(node: OnnxNode, x: Tensor, index: Tensor) -> Tensor:
    """Positions of one axis; rows of a table are looked up as an embedding."""
    axis = node.attribute("axis", 0) % x.dim()
    sizes = node.attribute("arranged")
    if sizes is not None and math.prod(sizes) != x.numel():
        raise NotComputed("picks some positions of all axes")
    if sizes is not None:  # of all positions; the writer lists as many as there are
        return x.reshape(sizes)
    number = node.numbers.get(1)
    if isinstance(number, int):
        return x.select(axis, number)
    index = _counted_from_zero(index, x.shape[axis])
    if axis == 0 and x.dim() == 2 and x.is_floating_point():
        return F.embedding(index, x)
    picked = x.index_select(axis, index.reshape(-1))
    return picked if index.dim() == 1 else picked.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


@operator("GatherElements")
def gather_elements(node: OnnxNode, x: Tensor, index: Tensor) -> Tensor:
    """One position of an axis for every position of the index."""
    axis = node.attribute("axis", 0)
    return torch.gather(x, axis, _counted_from_zero(index, x.shape[axis]))


@operator("GatherND")
def gather_nd(node: OnnxNode, x: Tensor, index: Tensor) -> Tensor:
    """Slices named by the last axis of the index."""
    shared = node.attribute("batch_dims", 0)
    index = index.to(torch.int64)
    flat_x = x.reshape(-1, *x.shape[shared:])
    flat_index = index.reshape(flat_x.shape[0], -1, index.shape[-1])
    picked = [rows[tuple(where.unbind(-1))] for rows, where in zip(flat_x, flat_index, strict=True)]
    return torch.stack(picked).reshape(*index.shape[:-1], *x.shape[shared + index.shape[-1] :])


#: How values meet that fall on one place.
_MEET: dict[str, str | None] = {"none": None, "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements", "Scatter")
def scatter_elements(node: OnnxNode, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """Other values at some positions of an axis."""
    axis = node.attribute("axis", 0)
    index = _counted_from_zero(index, x.shape[axis])
    meet = _MEET[text(node.attribute("reduction", "none"))]
    return x.scatter(axis, index, updates) if meet is None else x.scatter_reduce(axis, index, updates, meet)


@operator("ScatterND")
def scatter_nd(node: OnnxNode, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """Other slices at the places that the last axis of the index names."""
    meet = text(node.attribute("reduction", "none"))
    places = tuple(index.to(torch.int64).unbind(-1))
    if meet not in ("none", "add"):
        raise NotComputed(f"combines values by {meet}")
    return x.clone().index_put_(places, updates, accumulate=meet == "add")


@operator("OneHot", numbers=(1,))
def one_hot(node: OnnxNode, index: Tensor, depth: Any, values: Tensor) -> Tensor:
    """One value where the index says, another elsewhere."""
    count = depth[0] if isinstance(depth, list) else depth
    index = _counted_from_zero(index, count)
    wanted: Tensor = index.unsqueeze(-1) == torch.arange(count, device=index.device)
    result = torch.where(wanted, values[1], values[0])
    axis = node.attribute("axis", -1)
    return result if axis in (-1, index.dim()) else result.movedim(-1, axis)


@operator("NonZero")
def non_zero(_node: OnnxNode, x: Tensor) -> Tensor:
    """The places that hold anything but zero, a column each."""
    return x.nonzero().t()


@operator("Compress")
def compress(node: OnnxNode, x: Tensor, condition: Tensor) -> Tensor:
    """The positions of an axis at which the condition holds."""
    axis = node.attribute("axis")
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return x.index_select(axis, condition.nonzero().reshape(-1))


@operator("Trilu", numbers=(1,))
def triangle(node: OnnxNode, x: Tensor, diagonal: Any = 0) -> Tensor:
    """The upper or the lower triangle of the last two axes."""
    number = diagonal[0] if isinstance(diagonal, list) else diagonal or 0
    return x.triu(number) if node.attribute("upper", 1) else x.tril(number)


@operator("Pad", numbers=(1, 3))
def pad(
    node: OnnxNode, x: Tensor, given: list[int] | None = None, value: Tensor | None = None, axes: Any = None
) -> Tensor:
    """Positions around: of one value, mirrored, of the edge, or from the other end. Negative counts cut off."""
    counts = list(node.option("pads", given))
    along = [axis % x.dim() for axis in (axes if axes is not None else range(x.dim()))]
    around = {axis: (counts[i], counts[i + len(along)]) for i, axis in enumerate(along)}
    mode = text(node.attribute("mode", "constant"))
    if mode == "constant":
        number = node.attribute("value", 0.0) if value is None else value.item()
        return _padded(x, around, number)
    for axis, (before, after) in around.items():
        if before or after:
            x = x.index_select(axis, _reflected(x, axis, before, after, mode))
    return x


def _padded(x: Tensor, around: dict[int, tuple[int, int]], value: float) -> Tensor:
    used = [axis for axis, counts in around.items() if any(counts)]
    if not used:
        return x
    flat = [count for axis in reversed(range(min(used), x.dim())) for count in around.get(axis, (0, 0))]
    return F.pad(x, flat, value=value)


def _reflected(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    length = x.shape[axis]
    place = torch.arange(-before, length + after, device=x.device)
    if mode == "edge":
        return place.clamp(0, length - 1)
    if mode == "wrap":
        return place.remainder(length)
    period = max(2 * (length - 1), 1)
    place = place.remainder(period)
    return torch.minimum(place, period - place)


def _counted_from_zero(index: Tensor, length: int) -> Tensor:
    index = index.to(torch.int64)
    return torch.where(index < 0, index + length, index) if bool((index < 0).any()) else index


@operator("Range")
def range_(_node: OnnxNode, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    """Numbers in equal steps."""
    count = max(0, math.ceil((limit.item() - start.item()) / step.item()))
    places = torch.arange(count, device=start.device)
    numbers: Tensor = torch.addcmul(start, places.to(start.dtype), step)
    return numbers


@operator("ConstantOfShape", numbers=(0,), makes_floats=True)
def constant_of_shape(node: OnnxNode, sizes: list[int]) -> Tensor:
    """One value everywhere."""
    value = node.attribute("value")
    if value is None:
        return torch.zeros(sizes, dtype=node.floating.dtype)
    filled = as_tensor(value.reshape(-1)[0].item())
    dtype = node.floating.dtype if filled.is_floating_point() else torch.from_numpy(value).dtype
    return torch.full(sizes, filled.item(), dtype=dtype)


@operator("EyeLike", makes_floats=True)
def eye_like(node: OnnxNode, x: Tensor) -> Tensor:
    """Ones on a diagonal."""
    number = node.attribute("dtype")
    dtype = x.dtype if number is None else node.type_of(number)
    k = node.attribute("k", 0)
    rows, columns = x.shape
    places = torch.arange(columns).unsqueeze(0) - torch.arange(rows).unsqueeze(1)
    ones: Tensor = places == k
    return ones.to(dtype)

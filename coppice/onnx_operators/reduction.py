"""Operators in which the positions of an axis meet. The axes were an attribute once; some are inputs since 13 or 18."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator

Axes = list[int]


def _product(x: Tensor, axes: Axes) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True).to(x.dtype)
    return x


def _mean(x: Tensor, axes: Axes) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=True)
    return x.double().mean(axes, keepdim=True).to(x.dtype)


#: Each keeps the reduced axes, at size one.
_REDUCTIONS: dict[str, Callable[[Tensor, Axes], Tensor]] = {
    "ReduceL1": lambda x, axes: x.abs().sum(axes, keepdim=True),
    "ReduceL2": lambda x, axes: (x * x).sum(axes, keepdim=True).sqrt(),
    "ReduceLogSum": lambda x, axes: x.sum(axes, keepdim=True).log(),
    "ReduceLogSumExp": lambda x, axes: x.logsumexp(axes, keepdim=True),
    "ReduceMax": lambda x, axes: x.amax(axes, keepdim=True),
    "ReduceMean": _mean,
    "ReduceMin": lambda x, axes: x.amin(axes, keepdim=True),
    "ReduceProd": _product,
    "ReduceSum": lambda x, axes: x.sum(axes, keepdim=True, dtype=x.dtype),
    "ReduceSumSquare": lambda x, axes: (x * x).sum(axes, keepdim=True),
}


def _enter(name: str, reduce: Callable[[Tensor, Axes], Tensor]) -> None:
    @operator(name, numbers=(1,))
    def _(node: OnnxNode, x: Tensor, given: Axes | None = None) -> Tensor:
        stated = node.option("axes", given, [])
        if not stated and node.attribute("noop_with_empty_axes", 0):
            return x
        axes = sorted(axis % x.dim() for axis in stated) if stated else list(range(x.dim()))
        if node.attribute("counted", 0) and x.is_floating_point():  # a mean in two steps
            result = _mean(x * x if name == "ReduceSumSquare" else x, axes) * math.prod(x.shape[one] for one in axes)
        else:
            result = reduce(x, axes) if x.dim() else x
        if node.attribute("keepdims", 1):
            return result
        for axis in reversed(axes):
            result = result.squeeze(axis)
        return result


for _name, _reduce in _REDUCTIONS.items():
    _enter(_name, _reduce)


def _position(node: OnnxNode, x: Tensor, function: Callable[..., Tensor]) -> Tensor:
    axis, keep = node.attribute("axis", 0), bool(node.attribute("keepdims", 1))
    if node.attribute("select_last_index", 0):
        from_the_end = function(x.flip(axis), axis, keepdim=keep)
        return torch.sub(x.shape[axis] - 1, from_the_end)
    return function(x, axis, keepdim=keep)


@operator("ArgMax")
def arg_max(node: OnnxNode, x: Tensor) -> Tensor:
    """Where the largest value stands."""
    return _position(node, x, torch.argmax)


@operator("ArgMin")
def arg_min(node: OnnxNode, x: Tensor) -> Tensor:
    """Where the smallest value stands."""
    return _position(node, x, torch.argmin)


@operator("TopK", numbers=(1,))
def top_k(node: OnnxNode, x: Tensor, count: list[int] | int | None = None) -> Any:
    """The largest or smallest values along an axis, and where they stand."""
    k = node.option("k", count)
    return tuple(
        torch.topk(
            x,
            k[0] if isinstance(k, list) else k,
            node.attribute("axis", -1),
            bool(node.attribute("largest", 1)),
            bool(node.attribute("sorted", 1)),
        )
    )

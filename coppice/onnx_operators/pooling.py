"""Pooling. Padded positions never win a maximum; whether they count in an average, the node says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import Pads, numbers, padded, pads, symmetric

_MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@operator("MaxPool")
def max_pool(node: OnnxNode, x: Tensor) -> Any:
    """The largest value of each window."""
    kernel, stride, dilation, around = _windows(node, x)
    if node.wanted > 1:
        raise NotComputed("gives the positions of its maxima, too")
    padding: int | list[int] = [before for before, _ in around]
    if not symmetric(around) or any(2 * before > size for (before, _), size in zip(around, kernel, strict=True)):
        x, padding = padded(x, around, -math.inf), 0
    ceil = bool(node.attribute("ceil_mode", 0))
    return _MAXIMA[len(kernel)](x, kernel, stride, padding, dilation, ceil)


@operator("AveragePool")
def average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    """The mean of each window, over the positions that count."""
    kernel, stride, dilation, around = _windows(node, x)
    _without_dilations(dilation)
    mean, ceil = _MEANS[len(kernel)], bool(node.attribute("ceil_mode", 0))
    counts_padding = bool(node.attribute("count_include_pad", 0))
    fits = all(2 * before <= size for (before, _), size in zip(around, kernel, strict=True))
    if symmetric(around) and fits:
        return mean(x, kernel, stride, [before for before, _ in around], ceil, counts_padding)
    total = mean(padded(x, around), kernel, stride, 0, ceil)
    if counts_padding:
        return total
    ones = padded(torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device), around)
    return total / mean(ones, kernel, stride, 0, ceil)


@operator("LpPool")
def lp_pool(node: OnnxNode, x: Tensor) -> Tensor:
    """The p-norm of each window."""
    kernel, stride, dilation, around = _windows(node, x)
    _without_dilations(dilation)
    p = node.attribute("p", 2)
    powers = padded(x.abs() ** p, around)
    return torch.pow(_MEANS[len(kernel)](powers, kernel, stride, 0) * math.prod(kernel), 1 / p)


@operator("GlobalAveragePool")
def global_average(_node: OnnxNode, x: Tensor) -> Tensor:
    """The mean over all spatial axes."""
    return x.mean(_spatial(x), keepdim=True)


@operator("GlobalMaxPool")
def global_maximum(_node: OnnxNode, x: Tensor) -> Tensor:
    """The largest value over all spatial axes."""
    return x.amax(_spatial(x), keepdim=True)


@operator("GlobalLpPool")
def global_norm(node: OnnxNode, x: Tensor) -> Tensor:
    """The p-norm over all spatial axes."""
    p = node.attribute("p", 2)
    return torch.pow((x.abs() ** p).sum(_spatial(x), keepdim=True), 1 / p)


def _without_dilations(dilation: list[int]) -> None:
    if any(step != 1 for step in dilation):
        raise NotComputed("has dilations")


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


def _windows(node: OnnxNode, x: Tensor) -> tuple[list[int], list[int], list[int], Pads]:
    rank = x.dim() - 2
    if rank not in _MEANS:
        raise NotComputed(f"pools along {rank} axes")
    kernel = list(node.attribute("kernel_shape"))
    stride, dilation = numbers(node, "strides", rank), numbers(node, "dilations", rank)
    return kernel, stride, dilation, pads(node, x.shape[2:], kernel, stride, dilation)

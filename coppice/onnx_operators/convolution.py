"""Convolutions. How many groups there are is read from the tensors: a cut may have removed whole ones."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import Pads, numbers, padded, pads, symmetric, text

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Conv")
def convolution(node: OnnxNode, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Plain, grouped or depthwise, with any padding."""
    rank = _rank(x)
    stride, dilation = numbers(node, "strides", rank), numbers(node, "dilations", rank)
    around = pads(node, x.shape[2:], weight.shape[2:], stride, dilation)
    groups = x.shape[1] // weight.shape[1]
    if node.attribute("group", 1) != 1:
        node.stated["group"] = groups
    padding: int | list[int] = 0
    if symmetric(around):
        padding = [before for before, _ in around]
    else:
        x = padded(x, around)
    return _CONVOLUTIONS[rank](x, weight, bias, stride, padding, dilation, groups)


@operator("ConvTranspose")
def transposed(node: OnnxNode, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Padding removes positions from the full result, as many as the node says or as its output shape leaves."""
    rank = _rank(x)
    stride, dilation = numbers(node, "strides", rank), numbers(node, "dilations", rank)
    extra = list(node.attribute("output_padding") or [0] * rank)
    groups = node.attribute("group", 1)
    if groups > 1 and node.remembered is None:
        node.remembered = groups == weight.shape[0]
    if groups > 1:
        groups = node.stated["group"] = weight.shape[0] if node.remembered else groups
    full = [
        (size - 1) * step + (kernel - 1) * spread + 1 + more
        for size, step, kernel, spread, more in zip(x.shape[2:], stride, weight.shape[2:], dilation, extra, strict=True)
    ]
    around = _removed(node, x, full, stride, extra)
    if symmetric(around):
        return _TRANSPOSED[rank](x, weight, bias, stride, [before for before, _ in around], extra, groups, dilation)
    result = _TRANSPOSED[rank](x, weight, bias, stride, 0, extra, groups, dilation)
    # Negative padding cuts off; what output_padding adds is at the end, where torch adds it, too.
    return padded(result, [(-before, -after) for before, after in around])


def _removed(node: OnnxNode, x: Tensor, full: list[int], stride: list[int], extra: list[int]) -> Pads:
    kind = text(node.attribute("auto_pad", "NOTSET"))
    wanted = node.attribute("output_shape")
    if wanted is None and kind not in ("SAME_UPPER", "SAME_LOWER"):
        return pads(node, x.shape[2:], [1] * len(full), stride, [1] * len(full))
    if wanted is None:
        wanted = [size * step for size, step in zip(x.shape[2:], stride, strict=True)]
    totals = [size - want for size, want in zip(full, list(wanted)[-len(full) :], strict=True)]
    del extra
    if kind == "SAME_UPPER":
        return [(total // 2, total - total // 2) for total in totals]
    return [(total - total // 2, total // 2) for total in totals]


def _rank(x: Tensor) -> int:
    rank = x.dim() - 2
    if rank not in _CONVOLUTIONS:
        raise NotComputed(f"convolves along {rank} axes")
    return rank

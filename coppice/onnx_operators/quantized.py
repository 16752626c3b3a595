"""Quantised values, as far as they stand around ordinary operators."""

from __future__ import annotations

import torch
from torch import Tensor

from coppice.onnx_operators.evaluated import NotComputed
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator


@operator("DequantizeLinear", whole_values=True)
def dequantize(node: OnnxNode, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """From whole numbers; one scale, or one for each position of an axis."""
    real = x.to(scale.dtype)
    if zero is not None:
        real = real - _along(node, zero.to(scale.dtype), x)
    return real * _along(node, scale, x)


@operator("QuantizeLinear", whole_values=True)
def quantize(node: OnnxNode, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """To whole numbers, of the type of the zero point."""
    dtype = torch.uint8 if zero is None else zero.dtype
    limits = torch.iinfo(dtype)
    number = torch.round(x / _along(node, scale, x))
    if zero is not None:
        number = number + _along(node, zero.to(x.dtype), x)
    return number.clamp(limits.min, limits.max).to(dtype)


def _along(node: OnnxNode, value: Tensor, x: Tensor) -> Tensor:
    if value.dim() > 1:
        raise NotComputed("has a scale for each block")
    if not value.dim() or value.numel() == 1:
        return value.reshape(())
    axis = node.attribute("axis", 1) % x.dim()
    return value.reshape(-1, *[1] * (x.dim() - axis - 1))

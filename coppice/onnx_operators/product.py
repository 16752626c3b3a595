"""Matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator
from coppice.onnx_operators.windows import text


@operator("MatMul")
def matmul(_node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    """As numpy multiplies."""
    return torch.matmul(a, b)


@operator("Gemm")
def gemm(node: OnnxNode, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha * A B + beta * C, either matrix transposed."""
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    a = a.t() if node.attribute("transA", 0) else a
    weight = b if node.attribute("transB", 0) else b.t()
    plain = c is not None and c.dim() == 1 and alpha == beta == 1
    result: Tensor = F.linear(a, weight, c if plain else None)
    result = result if alpha == 1 else alpha * result
    if c is None or plain:
        return result
    shift: Tensor = c if beta == 1 else beta * c
    return result + shift


@operator("Einsum")
def einsum(node: OnnxNode, *tensors: Tensor) -> Tensor:
    """By an equation in letters."""
    result: Tensor = torch.einsum(text(node.attribute("equation")).replace(" ", ""), *tensors)
    return result


@operator("Det")
def determinant(_node: OnnxNode, x: Tensor) -> Tensor:
    """Of the matrices in the last two axes."""
    result: Tensor = torch.linalg.det(x)
    return result

"""Element-wise arithmetic, comparison and logic, with numpy's broadcasting."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import operator

#: Operators of one tensor that are one function of torch.
_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}

#: Operators of two tensors that are one function of torch.
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}


def _enter_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @operator(name)
    def _(_node: OnnxNode, x: Tensor) -> Tensor:
        return function(x)


def _enter_binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @operator(name, scalars=True)
    def _(_node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
        return function(a, b)


for _name, _function in _UNARY.items():
    _enter_unary(_name, _function)
for _name, _pair in _BINARY.items():
    _enter_binary(_name, _pair)


@operator("Div", scalars=True)
def div(_node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    """Whole numbers are divided as in C: towards zero."""
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


@operator("Mod", scalars=True)
def mod(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    """With `fmod` the sign is that of the dividend, else that of the divisor."""
    return torch.fmod(a, b) if node.attribute("fmod", 0) else torch.remainder(a, b)


@operator("Pow", scalars=True)
def power(_node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    """The result is of the base's type; an exponent that is a number is one for torch, too, and squares exactly."""
    if not b.dim():
        return torch.pow(a, b.item()).to(a.dtype)
    return torch.pow(a, b).to(a.dtype)


@operator("Sum")
def add_all(_node: OnnxNode, *tensors: Tensor) -> Tensor:
    """All inputs together."""
    return functools.reduce(torch.add, tensors)


@operator("Mean")
def mean_of_all(_node: OnnxNode, *tensors: Tensor) -> Tensor:
    """The mean of the inputs."""
    return functools.reduce(torch.add, tensors) / len(tensors)


@operator("Max", scalars=True)
def maximum(_node: OnnxNode, *tensors: Tensor) -> Tensor:
    """The largest of the inputs."""
    return functools.reduce(torch.maximum, tensors)


@operator("Min", scalars=True)
def minimum(_node: OnnxNode, *tensors: Tensor) -> Tensor:
    """The smallest of the inputs."""
    return functools.reduce(torch.minimum, tensors)


@operator("Where", scalars=True)
def where(_node: OnnxNode, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One of two values."""
    return torch.where(condition, a, b)


@operator("IsInf")
def is_infinite(node: OnnxNode, x: Tensor) -> Tensor:
    """Infinity, of the signs that are asked for."""
    found = torch.isinf(x)
    if not node.attribute("detect_positive", 1):
        found = found & (x < 0)
    if not node.attribute("detect_negative", 1):
        found = found & (x > 0)
    return found


@operator("BitShift")
def shift(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    """Bits to the left or to the right."""
    left = node.attribute("direction") in ("LEFT", b"LEFT")
    return torch.bitwise_left_shift(a, b) if left else torch.bitwise_right_shift(a, b)


@operator("Clip", scalars=True)
def clip(node: OnnxNode, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Bounds were attributes before version 11. As numbers: they bound every position alike."""
    bounds = [
        bound.item() if isinstance(bound, Tensor) else bound
        for bound in (node.option("min", low), node.option("max", high))
    ]
    return x if bounds == [None, None] else torch.clamp(x, bounds[0], bounds[1])


@operator("Cast", "CastLike", makes_floats=True)
def cast(node: OnnxNode, x: Tensor, like: Tensor | None = None) -> Tensor:
    """To another type; `CastLike` takes it from a tensor."""
    return x.to(like.dtype if like is not None else node.type_of(node.attribute("to")))


@operator("CumSum", numbers=(1,))
def cumulative(node: OnnxNode, x: Tensor, axis: int | list[int]) -> Tensor:
    """Sums along an axis, from either end, with or without the position itself."""
    along = axis[0] if isinstance(axis, list) else axis
    backwards = node.attribute("reverse", 0)
    x = x.flip(along) if backwards else x
    sums = x.cumsum(along, dtype=x.dtype)
    sums = sums - x if node.attribute("exclusive", 0) else sums
    return sums.flip(along) if backwards else sums

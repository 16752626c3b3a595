"""What operators do to plain numbers: sizes between a Shape and the operator that uses them.

They stay Python's own integers, so that a size which the tracer follows, or which a cut made smaller, reaches its
goal. What needs more than one axis becomes a tensor (`NotImplemented`).
"""

from __future__ import annotations

import math
import operator as op
from collections.abc import Callable
from typing import Any

from coppice.onnx_operators.element_types import DOUBLE, HALVES
from coppice.onnx_operators.node import OnnxNode
from coppice.onnx_operators.table import on_numbers

_FLOATS = frozenset({1, DOUBLE}) | HALVES
_BOOL = 9


def _divided(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    return a // b if (a >= 0) == (b > 0) else -((-a) // b)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": op.add,
    "And": op.and_,
    "Div": _divided,
    "Equal": op.eq,
    "Greater": op.gt,
    "GreaterOrEqual": op.ge,
    "Less": op.lt,
    "LessOrEqual": op.le,
    "Max": max,
    "Min": min,
    "Mod": op.mod,
    "Mul": op.mul,
    "Or": op.or_,
    "Sub": op.sub,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": abs,
    "Ceil": lambda x: float(math.ceil(x)),
    "Floor": lambda x: float(math.floor(x)),
    "Neg": op.neg,
    "Not": op.not_,
}


def _enter_binary(name: str, function: Callable[[Any, Any], Any]) -> None:
    @on_numbers(name)
    def _(_node: OnnxNode, *values: Any) -> Any:
        result = values[0]
        for value in values[1:]:
            result = _broadcast(function, result, value)
        return result


def _enter_unary(name: str, function: Callable[[Any], Any]) -> None:
    @on_numbers(name)
    def _(_node: OnnxNode, x: Any) -> Any:
        return [function(one) for one in x] if isinstance(x, list) else function(x)


for _name, _pair in _BINARY.items():
    _enter_binary(_name, _pair)
for _name, _function in _UNARY.items():
    _enter_unary(_name, _function)


def _broadcast(function: Callable[..., Any], *values: Any) -> Any:
    lists = [value for value in values if isinstance(value, list)]
    if not lists:
        return function(*values)
    length = max(len(one) for one in lists)
    spread = [
        (value if len(value) == length else value * length) if isinstance(value, list) else [value] * length
        for value in values
    ]
    return [function(*entry) for entry in zip(*spread, strict=True)]


@on_numbers("Identity")
def identity(_node: OnnxNode, x: Any) -> Any:
    """The numbers themselves."""
    return x


@on_numbers("Where")
def where(_node: OnnxNode, condition: Any, a: Any, b: Any) -> Any:
    """One of two numbers."""
    return _broadcast(lambda holds, yes, no: yes if holds else no, condition, a, b)


@on_numbers("Sqrt")
def root(node: OnnxNode, x: Any) -> Any:
    """A root of a size is a temperature or a scale, no size: it stays what the weights were trained with."""
    if node.remembered is None:
        node.remembered = [math.sqrt(one) for one in x] if isinstance(x, list) else math.sqrt(x)
    return node.remembered


@on_numbers("Pow")
def power(node: OnnxNode, x: Any, exponent: Any) -> Any:
    """A fractional power is a scale, as a root is; a whole one is a size."""
    if isinstance(exponent, int) or (isinstance(exponent, float) and exponent.is_integer()):
        return _broadcast(op.pow, x, exponent)
    if node.remembered is None:
        node.remembered = _broadcast(op.pow, x, exponent)
    return node.remembered


@on_numbers("Cast")
def cast(node: OnnxNode, x: Any) -> Any:
    """Whole numbers stay what they are, also as numbers that have a point."""
    to = node.attribute("to")
    if isinstance(x, list):
        return [_cast(one, to) for one in x]
    return _cast(x, to)


def _cast(x: Any, to: int) -> Any:
    if to in _FLOATS:
        return x if isinstance(x, float) else x * 1.0
    if to == _BOOL:
        return bool(x)
    return int(x) if isinstance(x, float | bool) else x


@on_numbers("Gather")
def gather(_node: OnnxNode, x: Any, index: Any) -> Any:
    """Some of the numbers."""
    if not isinstance(x, list) or any(isinstance(one, list) for one in x):
        return NotImplemented
    if isinstance(index, list):
        return NotImplemented if any(isinstance(one, list) for one in index) else [x[one] for one in index]
    return x[index]


@on_numbers("Slice")
def slice_(node: OnnxNode, x: Any, *given: Any) -> Any:
    """A part of the numbers."""
    if not isinstance(x, list):
        return NotImplemented
    starts, ends, _axes, steps = (*given, None, None, None, None)[:4]
    start, end = _one(node.option("starts", starts)), _one(node.option("ends", ends))
    step = 1 if steps is None else _one(steps)
    return x[slice(start, None if step < 0 and end < -len(x) else end, step)]


@on_numbers("Concat")
def concat(_node: OnnxNode, *values: Any) -> Any:
    """One after the other."""
    if not all(isinstance(value, list) for value in values):
        return NotImplemented
    return [one for value in values for one in value]


@on_numbers("Squeeze")
def squeeze(_node: OnnxNode, x: Any, _axes: Any = None) -> Any:
    """The number in a list of one."""
    return x[0] if isinstance(x, list) and len(x) == 1 else x if not isinstance(x, list) else NotImplemented


@on_numbers("Unsqueeze")
def unsqueeze(node: OnnxNode, x: Any, axes: Any = None) -> Any:
    """A list of one number."""
    stated = node.option("axes", axes)
    return NotImplemented if isinstance(x, list) or len(stated) != 1 else [x]


@on_numbers("Reshape")
def reshape(_node: OnnxNode, x: Any, sizes: Any) -> Any:
    """To a list, or from a list of one to its number."""
    flat = x if isinstance(x, list) else [x]
    if len(sizes) == 0:
        return flat[0]
    return flat if len(sizes) == 1 else NotImplemented


@on_numbers("Split")
def split(node: OnnxNode, x: Any, given: Any = None) -> Any:
    """Into pieces."""
    stated = node.option("split", given)
    if not isinstance(x, list):
        return NotImplemented
    if stated is None:
        each = -(-len(x) // node.wanted)
        stated = [each] * node.wanted
    ends = [sum(stated[: place + 1]) for place in range(len(stated))]
    return tuple(x[end - count : end] for end, count in zip(ends, stated, strict=True))


@on_numbers("ReduceProd")
def product(node: OnnxNode, x: Any, _axes: Any = None) -> Any:
    """All numbers multiplied."""
    result = math.prod(x if isinstance(x, list) else [x])
    return [result] if node.attribute("keepdims", 1) and isinstance(x, list) else result


@on_numbers("ReduceSum")
def total(node: OnnxNode, x: Any, _axes: Any = None) -> Any:
    """All numbers added."""
    result = sum(x if isinstance(x, list) else [x])
    return [result] if node.attribute("keepdims", 1) and isinstance(x, list) else result


@on_numbers("ReduceMax")
def largest(node: OnnxNode, x: Any, _axes: Any = None) -> Any:
    """The largest number."""
    result = max(x if isinstance(x, list) else [x])
    return [result] if node.attribute("keepdims", 1) and isinstance(x, list) else result


@on_numbers("ConstantOfShape")
def constant_of_shape(node: OnnxNode, sizes: Any) -> Any:
    """A list of one number, repeated; larger ones are tensors."""
    value = node.attribute("value")
    if len(sizes) != 1 or value is None or value.dtype.kind not in "iub" or sizes[0] > _MANY:
        return NotImplemented
    return [value.reshape(-1)[0].item()] * sizes[0]


@on_numbers("Expand")
def expand(_node: OnnxNode, x: Any, sizes: Any) -> Any:
    """A number or a list of one, repeated."""
    if len(sizes) != 1 or sizes[0] > _MANY or (isinstance(x, list) and len(x) != 1):
        return NotImplemented
    return (x if isinstance(x, list) else [x]) * sizes[0]


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


#: More numbers than any shape has: what is longer is data.
_MANY = 64

"""The constants of an ONNX graph by which it multiplies what flows, and the ones that it then adds.

Names are of no use here: exporters fold, transpose and rename. What counts is which node reads a constant, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto, TensorProto, helper


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A constant that some nodes multiply by."""

    name: str
    #: The shape in which its outputs have axes of their own.
    view: tuple[int, ...]
    #: The axes of the view along which it is summed: those share a scale.
    summed: tuple[int, ...]
    nodes: tuple[str, ...]


Shape = tuple[int, ...]
#: Where a node has constants to multiply by: position of the input -> (view, axes along which it is summed).
Places = dict[int, tuple[Shape, tuple[int, ...]]]


def weights_of(model: onnx.ModelProto) -> dict[str, Weight]:
    """The floating-point constants that the nodes of the graph multiply by."""
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer if one.data_type == TensorProto.FLOAT}
    found: dict[str, Weight] = {}
    for node in model.graph.node:
        place = _PLACES.get(node.op_type)
        if place is None:
            continue
        for position, (view, summed) in place(node, shapes).items():
            name = node.input[position]
            known = found.get(name)
            if known is None:
                found[name] = Weight(name=name, view=view, summed=summed, nodes=(node.name,))
            elif (known.view, known.summed) == (view, summed):
                found[name] = Weight(name=name, view=view, summed=summed, nodes=(*known.nodes, node.name))
    return found


def biases_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """The floating-point constants that are added to what a node multiplied, one number for each output."""
    constants = {one.name for one in model.graph.initializer if one.data_type == TensorProto.FLOAT}
    products = {output for node in model.graph.node if node.op_type == "MatMul" for output in node.output}
    lines = {one.name for one in model.graph.initializer if len(one.dims) == 1}
    return tuple(dict.fromkeys(name for node in model.graph.node for name in _added(node, products, lines & constants)))


def _added(node: NodeProto, products: set[str], lines: set[str]) -> Iterator[str]:
    position = _BIAS.get(node.op_type)
    if position is not None and len(node.input) > position:
        yield from {node.input[position]} & lines
    elif node.op_type == "Add" and set(node.input) & products:
        yield from set(node.input) & lines


#: Operator -> which input is the bias.
_BIAS: Mapping[str, int] = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}


def _convolution(node: NodeProto, shapes: Mapping[str, Shape]) -> Places:
    shape = _shape(node, 1, shapes)
    return {} if shape is None else {1: (shape, tuple(range(1, len(shape))))}


def _transposed_convolution(node: NodeProto, shapes: Mapping[str, Shape]) -> Places:
    shape, groups = _shape(node, 1, shapes), _attribute(node, "group", 1)
    if shape is None:
        return {}
    view = (groups, shape[0] // groups, *shape[1:])
    return {1: (view, (1, *range(3, len(view))))}


def _gemm(node: NodeProto, shapes: Mapping[str, Shape]) -> Places:
    shape = _shape(node, 1, shapes)
    return {} if shape is None else {1: (shape, (1 if _attribute(node, "transB", 0) else 0,))}


def _product(node: NodeProto, shapes: Mapping[str, Shape]) -> Places:
    found: Places = {}
    for position in (0, 1):
        shape = _shape(node, position, shapes)
        if shape is not None and len(shape) > 1:
            found[position] = (shape, (len(shape) - 1 - position,))
    return found


def _recurrent(node: NodeProto, shapes: Mapping[str, Shape]) -> Places:
    placed = {position: _shape(node, position, shapes) for position in (1, 2)}
    return {position: (shape, (2,)) for position, shape in placed.items() if shape is not None}


def _einsum(node: NodeProto, shapes: Mapping[str, Shape]) -> Places:
    equation = next(one.s for one in node.attribute if one.name == "equation").decode().replace(" ", "")
    terms, _, output = equation.partition("->")
    found: Places = {}
    for position, term in enumerate(terms.split(",")):
        shape = _shape(node, position, shapes)
        summed = tuple(axis for axis, letter in enumerate(term) if letter not in output)
        if shape is not None and summed and "." not in term and output:
            found[position] = (shape, summed)
    return found


def _shape(node: NodeProto, position: int, shapes: Mapping[str, Shape]) -> Shape | None:
    return shapes.get(node.input[position]) if len(node.input) > position else None


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return int(next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default))


_PLACES: Mapping[str, Callable[[NodeProto, Mapping[str, Shape]], Places]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _product,
    "RNN": _recurrent,
}

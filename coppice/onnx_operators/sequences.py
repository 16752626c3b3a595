"""Sequences of tensors, and optional values, as scripts export them: gone before they reach a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coppice.onnx_operators.node import OnnxNode, Tensors
from coppice.onnx_operators.table import operator


@operator("SequenceConstruct")
def construct(_node: OnnxNode, *tensors: Tensor) -> Tensors:
    """Of these tensors."""
    return Tensors(tensors)


@operator("SequenceEmpty")
def empty(_node: OnnxNode) -> Tensors:
    """Of none."""
    return Tensors(())


@operator("SplitToSequence", numbers=(1,))
def split(node: OnnxNode, x: Tensor, stated: int | list[int] | None = None) -> Tensors:
    """Pieces of an axis: of one position each, of a size, or of several."""
    axis = node.attribute("axis", 0)
    if stated is None:
        pieces = torch.split(x, 1, axis)
        return Tensors(pieces if node.attribute("keepdims", 1) else tuple(one.squeeze(axis) for one in pieces))
    if isinstance(stated, list):
        return Tensors(x.split_with_sizes(stated, axis))
    if node.remembered is None:  # equal pieces stay as many as in the whole model
        node.remembered = x.shape[axis] // stated if x.shape[axis] % stated == 0 else 0
    if not node.remembered:
        return Tensors(torch.split(x, stated, axis))
    width = x.shape[axis] // node.remembered
    node.stated[1] = width
    return Tensors(x.split_with_sizes([width] * node.remembered, axis))


@operator("SequenceAt", numbers=(1,))
def at(_node: OnnxNode, sequence: Tensors, position: Any) -> Tensor:
    """One of them."""
    return sequence.items[_one(position)]


@operator("SequenceInsert", numbers=(2,))
def insert(_node: OnnxNode, sequence: Tensors, tensor: Tensor, position: Any = None) -> Tensors:
    """With one more, at the end where nothing is said."""
    items = list(sequence.items)
    items.insert(len(items) if position is None else _one(position), tensor)
    return Tensors(tuple(items))


@operator("SequenceErase", numbers=(1,))
def erase(_node: OnnxNode, sequence: Tensors, position: Any = None) -> Tensors:
    """Without one, the last where nothing is said."""
    items = list(sequence.items)
    del items[-1 if position is None else _one(position)]
    return Tensors(tuple(items))


@operator("SequenceLength")
def length(_node: OnnxNode, sequence: Tensors) -> int:
    """How many there are, as a plain number."""
    return len(sequence.items)


@operator("ConcatFromSequence")
def concat(node: OnnxNode, sequence: Tensors) -> Tensor:
    """One after the other, along an axis or along a new one."""
    join = torch.stack if node.attribute("new_axis", 0) else torch.cat
    return join(sequence.items, node.attribute("axis", 0))


@operator("Optional", "OptionalGetElement")
def present(_node: OnnxNode, value: Any) -> Any:
    """The value itself: it is there."""
    return value


@operator("OptionalHasElement")
def is_present(_node: OnnxNode, value: Any = None) -> bool:
    """Whether there is one, as a plain value."""
    return value is not None


def _one(number: Any) -> int:
    return int(number[0] if isinstance(number, list) else number)

"""The functions and variables of a SavedModel's graph, brought into agreement with new sizes.

Edited in place on a copy of the message: shapes of variables, the constants of `saved_model_constants`, and the shape
hints that TensorFlow leaves for itself, which are dropped or left open since it infers them again. Anything that can't
be told raises CantEdit, and then nothing of the copy is used.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from coppice.formats.saved_model.bundle import DTYPES, set_shape
from coppice.formats.saved_model.constants import (
    KNOWN_OPERATORS,
    NEUTRAL_INPUTS,
    CantEdit,
    is_axes,
    may_count_channels,
    new_scale,
    new_shape,
    new_value,
)
from coppice.formats.saved_model.owners import BRANCHING, Owner, Owners, called_functions, drop_unused
from coppice.formats.saved_model.protos import Message
from coppice.formats.saved_model.sizes import Shape

#: Hints that every node may carry and that are inferred again at load.
OUTPUT_SHAPES = "_output_shapes"
INPUT_SHAPES = "_input_shapes"

_CHECKPOINT = re.compile(r"__inference__traced_(save|restore)_\d+")
_WHOLE_NUMBERS = {number for number, kind in DTYPES.items() if np.dtype(kind).kind in "iu"}


def edit_functions(graph: Message, owners: Owners, used: set[str]) -> None:
    """Bring every traced function into agreement; raises CantEdit."""
    drop_unused(graph.library, used | _used_by(graph))
    for function in graph.library.function:
        name = function.signature.name
        for node in function.node_def:
            node.attr.pop(OUTPUT_SHAPES, None)
        if not owners.is_whole_model(name):
            _open_shapes(function)
        if not _CHECKPOINT.fullmatch(name):
            _edit_nodes(function, owners)
    for node in graph.node:
        node.attr.pop(OUTPUT_SHAPES, None)


def _used_by(graph: Message) -> set[str]:
    """Functions that the graph itself calls, and gradients that it registers."""
    called = {name for node in graph.node for name in called_functions(node)}
    registered = {entry.gradient_func for entry in (*graph.library.gradient, *graph.library.registered_gradients)}
    return called | registered


def _open_shapes(function: Message) -> None:
    """Leave the sizes of a layer's arguments open; how many axes they have stays."""
    hints = [function.attr, *(entry.value.attr for entry in function.arg_attr)]
    for attributes in hints:
        for key in (INPUT_SHAPES, OUTPUT_SHAPES):
            if key in attributes:
                for shape in attributes[key].list.shape:
                    open_sizes(shape)


def open_sizes(shape: Message) -> None:
    """Make every size of a shape unknown."""
    for dimension in shape.dim:
        dimension.size = -1


def _edit_nodes(function: Message, owners: Owners) -> None:
    name = function.signature.name
    consumers = _consumers(function)
    for node in function.node_def:
        owner = owners.of(name, node.name)
        if owner is not None and not owner.layer.changed:
            continue
        where = f"{node.op} {node.name} in {name}"
        if node.op not in KNOWN_OPERATORS:
            raise CantEdit(f"the operator {where} is not known")
        if node.op in BRANCHING:
            for shape in node.attr["output_shapes"].list.shape:
                open_sizes(shape)
        if any(_states_sizes(attribute) for attribute in node.attr.values()):
            raise CantEdit(f"{where} states a shape")
        if node.op == "Const":
            _edit_constant(node, owner, consumers[node.name], where)


def _states_sizes(attribute: Message) -> bool:
    shapes = [attribute.shape] if attribute.HasField("shape") else list(attribute.list.shape)
    return any(dimension.size > 0 for shape in shapes for dimension in shape.dim)


def _consumers(function: Message) -> Mapping[str, list[tuple[str, int, int]]]:
    """Name of a node -> operator, number of the input and count of inputs, of every node that takes its result."""
    consumers: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for node in function.node_def:
        results = [source for source in node.input if not source.startswith("^")]
        for number, source in enumerate(results):
            consumers[source.split(":", 1)[0]].append((node.op, number, len(results)))
    return consumers


def _edit_constant(node: Message, owner: Owner | None, consumers: list[tuple[str, int, int]], where: str) -> None:
    if not consumers:
        return  # a leftover of the tracing
    tensor = node.attr["value"].tensor
    sizes = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    if tensor.dtype not in _WHOLE_NUMBERS:
        _edit_floating(tensor, sizes, owner, where)
        return
    value = _numbers(tensor, sizes)
    if not may_count_channels(value):
        return
    new = None if owner is None else new_value(owner.layer.was, owner.layer.now, owner.name, value)
    if new is not None:
        _set_numbers(tensor, new)
    elif not (owner is not None and is_axes(owner.layer.was.kind, owner.name)) and not all(
        _is_neutral(*consumer) for consumer in consumers
    ):
        raise CantEdit(f"{where} is {value}, which may be a number of channels")


def _edit_floating(tensor: Message, sizes: Shape, owner: Owner | None, where: str) -> None:
    """One number that depends on a width, or one that fills an array; other arrays may belong to channels."""
    if owner is not None and is_axes(owner.layer.was.kind, owner.name):
        return
    if any(size > 1 for size in sizes):
        shape = None if owner is None else new_shape(owner.layer.was, owner.layer.now, owner.name, sizes)
        if shape is None or tensor.tensor_content.strip(b"\0"):
            raise CantEdit(f"{where} holds {sizes} values that may belong to channels")
        set_shape(tensor.tensor_shape, shape)
        tensor.ClearField("tensor_content")  # zeros, which an empty tensor means, too
    elif not sizes and owner is not None and len(tensor.float_val) == 1:
        tensor.float_val[0] = new_scale(owner.layer.was, owner.layer.now, owner.name, tensor.float_val[0])


def _is_neutral(operator: str, number: int, count: int) -> bool:
    return (operator, number) in NEUTRAL_INPUTS or (operator, number - count) in NEUTRAL_INPUTS


def _numbers(tensor: Message, sizes: Shape) -> tuple[int, ...]:
    """The values of a constant: raw bytes, or a list in which the last value fills what is left."""
    count = int(np.prod(sizes))
    if tensor.tensor_content:
        return tuple(int(one) for one in np.frombuffer(tensor.tensor_content, DTYPES[tensor.dtype]))
    values = [*tensor.int_val, *tensor.int64_val] or [0]
    return tuple((values + [values[-1]] * count)[:count])


def _set_numbers(tensor: Message, values: tuple[int, ...]) -> None:
    del tensor.int_val[:]
    del tensor.int64_val[:]
    tensor.tensor_content = np.array(values, DTYPES[tensor.dtype]).tobytes()


def edit_handles(graph: Message, variables: list[tuple[str, Shape, Shape]]) -> None:
    """Give the variables' handles their new shapes; `variables` are names with old and new shapes."""
    resized = {was for _, was, now in variables if was != now}
    for node in graph.node:
        if node.op != "VarHandleOp":
            continue
        shape = node.attr["shape"].shape
        old = tuple(dimension.size for dimension in shape.dim)
        found = set(_shapes_of(node.attr["shared_name"].s.decode(), old, variables))
        if not found and old not in resized:
            continue  # of an object beside the layers, which no cut reaches
        if len(found) != 1:
            raise CantEdit(f"the variable {node.name} of shape {old} is not told apart from others")
        set_shape(shape, found.pop())


def _shapes_of(shared_name: str, old: Shape, variables: list[tuple[str, Shape, Shape]]) -> Iterator[Shape]:
    """New shapes of the variables that a handle may be: of its name, or of that before it was made unique."""
    for name in (shared_name, re.sub(r"_\d+$", "", shared_name)):
        found = [new for variable, was, new in variables if variable == name and was == old]
        if found:
            yield from found
            return


def edit_specs(functions: Mapping[str, Any], owners: Owners) -> None:
    """Leave open the sizes in the recorded signatures of the layers' functions."""
    for name, function in functions.items():
        if not owners.is_whole_model(name) and not _CHECKPOINT.fullmatch(name):
            for value in (function.canonicalized_input_signature, function.output_signature):
                for shape in _shapes_in(value):
                    open_sizes(shape)


def _shapes_in(value: Message) -> Iterator[Message]:
    if value.HasField("tensor_spec_value"):
        yield value.tensor_spec_value.shape
    if value.HasField("tensor_shape_value"):
        yield value.tensor_shape_value
    for many in ("list_value", "tuple_value"):
        if value.HasField(many):
            for one in getattr(value, many).values:
                yield from _shapes_in(one)
    if value.HasField("dict_value"):
        for key in value.dict_value.fields:
            yield from _shapes_in(value.dict_value.fields[key])

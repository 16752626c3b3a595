"""A copy of an ONNX model with other sizes: initializers, constants and the attributes that state one; nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import GraphProto, TensorProto, helper, numpy_helper
from torch import Tensor

from coppice.formats.onnx.bodies import branch_of, captured, computing
from coppice.formats.onnx.constants import array_of, tensor_of, value_of
from coppice.onnx_operators import BranchNode, OnnxNetwork
from coppice.onnx_operators.graph import Array
from coppice.onnx_operators.node import OnnxNode


def edited(model: onnx.ModelProto, module: OnnxNetwork, inputs: tuple[Tensor, ...]) -> onnx.ModelProto:
    """The model with the tensors and sizes of `module`, a copy of its own network that was cut and runs on `inputs`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    settled = _settled(module, inputs)  # and the module's nodes have noted the sizes that they must state
    _Edit(copy, module).apply()
    _settle(copy, settled)
    described = len(copy.graph.value_info) > 0
    del copy.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(copy) if described else copy


def _settled(module: OnnxNetwork, inputs: tuple[Tensor, ...]) -> dict[int, Any]:
    """Numbers that the graph would compute otherwise from its new sizes, and that must stay: by the node's place."""
    nodes = {place: module.node(place) for place in range(len(module.submodule_names))}
    kept = {place: node.remembered for place, node in nodes.items() if node.class_name in ("Sqrt", "Pow")}
    for place in kept:
        nodes[place].remembered = None
    with torch.no_grad():
        module(*inputs)
    changed = {place: value for place, value in kept.items() if value != nodes[place].remembered}
    for place, value in kept.items():
        nodes[place].remembered = value
    with torch.no_grad():
        module(*inputs)
    return changed


def _settle(model: onnx.ModelProto, numbers: dict[int, Any]) -> None:
    """Constants in the place of nodes whose numbers must stay."""
    nodes = computing(model.graph)
    for place, number in numbers.items():
        node = nodes[place]
        dtype = helper.tensor_dtype_to_np_dtype(_type_before(model, node.input[0]))
        value = numpy_helper.from_array(np.asarray(number, dtype=dtype))
        node.CopyFrom(helper.make_node("Constant", [], list(node.output), name=node.name, value=value))


def _type_before(model: onnx.ModelProto, name: str) -> int:
    """The type of a number on its way from a size: that of the last Cast."""
    makers = {output: node for node in model.graph.node for output in node.output}
    while name in makers and makers[name].op_type != "Cast" and makers[name].input:
        name = makers[name].input[0]
    casts = [one.i for one in makers[name].attribute if one.name == "to"] if name in makers else []
    return int(casts[0]) if casts else int(TensorProto.FLOAT)


@dataclass(slots=True)
class _Use:
    """One input of one node that is a constant, and the value that it must have."""

    node: onnx.NodeProto
    position: int
    value: Array


@dataclass(slots=True)
class _Edit:
    model: onnx.ModelProto
    module: OnnxNetwork
    uses: dict[str, list[_Use]] = field(default_factory=dict)
    #: Constants that are read by what isn't edited: the graph's outputs, and bodies that only the runtime computes.
    kept: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def apply(self) -> None:
        self._collect(self.model.graph, self.module)
        self._rewrite(self.model.graph, self.module)
        self._declare_inputs()

    def _collect(self, graph: GraphProto, module: OnnxNetwork) -> None:
        self.kept |= {entry.name for entry in graph.output}
        self.names |= {name for node in graph.node for name in (*node.input, *node.output)}
        for place, proto in enumerate(computing(graph)):
            node = module.node(place)
            for position, value in _values(node):
                self.uses.setdefault(proto.input[position], []).append(_Use(proto, position, value))
            _set_attributes(proto, node)
            if not isinstance(node, BranchNode):
                self.kept.update(captured(proto))
                continue
            for name in node.branches:
                self._collect(branch_of(proto, name), node.branch(name))

    def _rewrite(self, graph: GraphProto, module: OnnxNetwork) -> None:
        for tensor in list(graph.initializer):
            graph.initializer.extend(self._rewritten(tensor))
        for place, proto in enumerate(computing(graph)):
            node = module.node(place)
            if isinstance(node, BranchNode):
                for name in node.branches:
                    self._rewrite(branch_of(proto, name), node.branch(name))
        for constant in graph.node:
            if constant.op_type == "Constant":
                graph.initializer.extend(self._rewrite_constant(constant))

    def _rewritten(self, tensor: TensorProto) -> list[TensorProto]:
        """Give the tensor its new value; where its readers need different ones, the others get tensors of their own."""
        original = array_of(tensor)
        distinct: list[tuple[Array, list[_Use]]] = [(original, [])] if tensor.name in self.kept else []
        for use in self.uses.get(tensor.name, []):
            value = use.value.reshape(original.shape) if use.value.size == original.size else use.value
            same = next((uses for known, uses in distinct if _equal(known, value)), None)
            if same is None:
                distinct.append((value, [use]))
            else:
                same.append(use)
        added = []
        for number, (value, uses) in enumerate(distinct):
            if number == 0:
                if not _equal(value, original):
                    tensor.CopyFrom(_tensor(value, tensor))
                continue
            fresh = _tensor(value, tensor)
            fresh.name = _free(f"{tensor.name}_{number}", self.names)
            for use in uses:
                use.node.input[use.position] = fresh.name
            added.append(fresh)
        return added

    def _rewrite_constant(self, node: onnx.NodeProto) -> list[TensorProto]:
        attribute = value_of(node)
        tensor = tensor_of(node)
        before = tensor.SerializeToString(deterministic=True)
        name, tensor.name = tensor.name, node.output[0]
        fresh = self._rewritten(tensor)
        tensor.name = name
        if attribute.name != "value" and tensor.SerializeToString(deterministic=True) != before:
            node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute("value", tensor))
        return fresh

    def _declare_inputs(self) -> None:
        """Files of before IR version 4 list their initializers as inputs, too, with their shapes."""
        shapes = {tensor.name: list(tensor.dims) for tensor in self.model.graph.initializer}
        for entry in self.model.graph.input:
            if entry.name in shapes:
                kind = entry.type.tensor_type.elem_type
                entry.CopyFrom(helper.make_tensor_value_info(entry.name, kind, shapes[entry.name]))


def _values(node: OnnxNode) -> Iterator[tuple[int, Array]]:
    for position, name in node.held.items():
        tensor: Tensor = getattr(node, name)
        yield position, tensor.detach().cpu().numpy()
    numbers = {**node.numbers, **_stated_inputs(node)}
    if (sizes := node.attribute("arranged")) is not None:
        numbers[1] = np.arange(math.prod(sizes)).reshape(sizes)
    for position, number in numbers.items():
        yield position, np.asarray(number)


def _stated_inputs(node: OnnxNode) -> dict[int, Any]:
    return {key: value for key, value in node.stated.items() if isinstance(key, int) and key in node.numbers}


def _set_attributes(proto: onnx.NodeProto, node: OnnxNode) -> None:
    stated = {key: value for key, value in node.stated.items() if isinstance(key, str)}
    for attribute in proto.attribute:
        name = attribute.name
        if name not in node.attributes or attribute.type not in (onnx.AttributeProto.INT, onnx.AttributeProto.INTS):
            continue
        value = stated.get(name, node.attributes[name])
        if value != _plain(helper.get_attribute_value(attribute)):
            attribute.CopyFrom(helper.make_attribute(name, value, attr_type=attribute.type))
    present = {attribute.name for attribute in proto.attribute}
    for name in {"scale"} & stated.keys() - present:  # what a node leaves to a default that its sizes give
        proto.attribute.append(helper.make_attribute(name, stated[name]))


def _plain(value: Any) -> Any:
    return list(value) if not isinstance(value, int | float | bytes) else value


def _tensor(value: Array, like: TensorProto) -> TensorProto:
    """The value as the file keeps it: half precision goes back to half."""
    dtype = helper.tensor_dtype_to_np_dtype(like.data_type)
    fresh = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape).astype(dtype), like.name)
    fresh.doc_string = like.doc_string
    return fresh


def _equal(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a.astype(b.dtype), b, equal_nan=a.dtype.kind == "f"))


def _free(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name

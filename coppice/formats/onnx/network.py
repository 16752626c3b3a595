"""From an ONNX model to a graph that runs in torch: plain data for the interpreter, and ONNX Runtime beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper

from coppice.errors import ModelInvalid, UnsupportedLayer
from coppice.formats.onnx.bodies import branch_of, captured, computing, taken
from coppice.formats.onnx.constants import array_of, tensor_of
from coppice.formats.onnx.file import STANDARD, opset
from coppice.formats.onnx.means import with_means
from coppice.formats.onnx.origin import origin
from coppice.formats.onnx.strides import with_reshapes
from coppice.formats.onnx.unknown import Alone
from coppice.onnx_operators import Graph, GraphInput, GraphNode, OnnxNetwork, build
from coppice.onnx_operators.graph import Array
from coppice.tracing.network import Layer


def graph_of(model: onnx.ModelProto) -> Graph:
    """The graph as plain data; Constant nodes are constants, and every other node has a name of its own."""
    return with_reshapes(with_means(_Reader(model).graph(model.graph)))


def build_network(model: onnx.ModelProto, graph: Graph) -> OnnxNetwork:
    """The interpreter's module of a graph; a node that it has no row for is computed by ONNX Runtime."""
    alone = Alone(model)
    protos = dict(_pairs(model.graph, graph))
    return build(graph, lambda node: alone.evaluate(protos[node.name], node.name, node.origin))


def _pairs(proto: GraphProto, graph: Graph) -> Iterator[tuple[str, NodeProto]]:
    for node, own in zip(computing(proto), graph.nodes, strict=True):
        yield own.name, node
        for name, branch in own.branches.items():
            yield from _pairs(branch_of(node, name), branch)


class _Reader:
    """One model; the branches in its graph are graphs, too."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._version = opset(model)
        self._versions = {entry.domain: entry.version for entry in model.opset_import}
        self._taken: set[str] = set()

    def graph(self, proto: GraphProto, around: Mapping[str, Array] | None = None) -> Graph:
        constants = dict(around or {}) | {tensor.name: array_of(tensor) for tensor in proto.initializer}
        constants |= {node.output[0]: array_of(tensor_of(node)) for node in proto.node if node.op_type == "Constant"}
        nodes = tuple(
            self._node(node, f"{node.op_type}_{place}", constants)
            for place, node in enumerate(proto.node)
            if node.op_type != "Constant"
        )
        return Graph(
            inputs=tuple(_input(entry) for entry in proto.input if entry.name not in constants),
            outputs=tuple(entry.name for entry in proto.output),
            nodes=nodes,
            constants=constants,
        )

    def _node(self, node: NodeProto, otherwise: str, constants: Mapping[str, Array]) -> GraphNode:
        name = node.name or otherwise
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        standard = node.domain in STANDARD
        bodies = {one.name: one.g for one in node.attribute if one.HasField("g")}
        return GraphNode(
            name=name,
            operator=node.op_type if standard else f"{node.domain}.{node.op_type}",
            version=self._version,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            origin=origin(node, self._version if standard else self._versions.get(node.domain, 1)),
            attributes={one.name: _attribute(one) for one in node.attribute if one.name not in bodies},
            captured=captured(node),
            branches={key: self._branch(body, constants) for key, body in bodies.items()}
            if standard and node.op_type == "If"
            else {},
        )

    def _branch(self, body: GraphProto, constants: Mapping[str, Array]) -> Graph:
        graph = self.graph(body, constants)
        free = tuple(GraphInput(name=name, element_type=0, shape=None) for name in taken(body) if name not in constants)
        return replace(graph, inputs=free)


def layers_of(graph: Graph, module: OnnxNetwork) -> tuple[Layer, ...]:
    """The nodes that compute with tensors, under the names that their users know; run the module first.

    A node that an exporter numbered has the name of its weight's owner (`layer1.0.conv1`). Either name may be given
    for a layer that is to be kept: the other one stands in front, so that reports use the better.
    """
    shown, others = [], []
    readers = {name: node for node in graph.nodes for name in node.inputs}
    for place, node in enumerate(graph.nodes):
        if module.node(place).made_numbers:
            continue
        path, owner = module.submodule_names[place], _owner(graph, node)
        if owner is None and node.operator == "MatMul" and readers.get(node.outputs[0]) is not None:
            owner = _owner(graph, readers[node.outputs[0]])  # a linear layer in two nodes: the bias has its name
        better, other = (owner, node.name) if owner and _numbered(node.name) else (node.name, owner)
        shown.append(Layer(name=better or node.name, path=path, kind=node.operator))
        if other and other != better:
            others.append(Layer(name=other, path=path, kind=node.operator))
    return (*others, *shown)


def _attribute(attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return array_of(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, bytes | str) else value


def _input(entry: onnx.ValueInfoProto) -> GraphInput:
    if not entry.type.HasField("tensor_type"):
        raise UnsupportedLayer(
            f"the input {entry.name[:100]!r} is no tensor. Coppice takes graphs of tensors.", field=entry.name[:100]
        )
    declared = entry.type.tensor_type
    shape = tuple(_dimensions(declared.shape)) if declared.HasField("shape") else None
    return GraphInput(name=entry.name, element_type=declared.elem_type, shape=shape)


def _dimensions(shape: onnx.TensorShapeProto) -> Iterator[int | str | None]:
    for dimension in shape.dim:
        if dimension.HasField("dim_value"):
            if dimension.dim_value < 0:
                raise ModelInvalid(f"an input declares the size {dimension.dim_value}.")
            yield dimension.dim_value
        else:
            yield dimension.dim_param or None


def _owner(graph: Graph, node: GraphNode) -> str | None:
    """`layer1.0.conv1` of a node whose weight is called `layer1.0.conv1.weight`."""
    for name in node.inputs:
        owner, _, last = name.rpartition(".")
        if owner and last in ("weight", "bias") and name in graph.constants:
            return owner
    return None


def _numbered(name: str) -> bool:
    """Whether nobody but an exporter knows the name: Conv_12, node_conv2d_3, onnx::Conv_193."""
    return bool(re.fullmatch(r"(?:node_)?[A-Za-z0-9]+(?:_\d+)?|onnx::.*|n\d+(?:_\d+)?", name))

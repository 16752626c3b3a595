"""From an ONNX model to a graph that runs in torch: plain data for the interpreter, and ONNX Runtime beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, helper

from coppice.errors import BadUpload, UnsupportedLayer
from coppice.formats.onnx.bodies import captured
from coppice.formats.onnx.constants import array_of, tensor_of
from coppice.formats.onnx.file import STANDARD, opset
from coppice.formats.onnx.unknown import Alone
from coppice.onnx_operators import Graph, GraphInput, GraphNode, OnnxNetwork, build
from coppice.tracing.network import Layer


def graph_of(model: onnx.ModelProto) -> Graph:
    """The graph as plain data; Constant nodes are constants, and every other node has a name of its own."""
    constants = {tensor.name: array_of(tensor) for tensor in model.graph.initializer}
    version = opset(model)
    nodes: list[GraphNode] = []
    taken: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            constants[node.output[0]] = array_of(tensor_of(node))
            continue
        name = node.name or f"{node.op_type}_{place}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(
            GraphNode(
                name=name,
                operator=node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}",
                version=version,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                attributes={attribute.name: _attribute(attribute) for attribute in node.attribute},
                captured=captured(node),
            )
        )
    return Graph(
        inputs=tuple(_input(entry) for entry in model.graph.input if entry.name not in constants),
        outputs=tuple(entry.name for entry in model.graph.output),
        nodes=tuple(nodes),
        constants=constants,
    )


def build_network(model: onnx.ModelProto, graph: Graph) -> OnnxNetwork:
    """The interpreter's module of a graph; a node that it has no row for is computed by ONNX Runtime."""
    computing = [node for node in model.graph.node if node.op_type != "Constant"]
    protos = dict(zip((node.name for node in graph.nodes), computing, strict=True))
    alone = Alone(model)
    return build(graph, lambda node: alone.evaluate(protos[node.name], node.name))


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
                raise BadUpload(f"an input declares the size {dimension.dim_value}.")
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

"""From an ONNX model to a graph that runs in torch: plain data for the interpreter, and ONNX's reference beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops import load_op

from coppice.errors import BadUpload, ForwardFailed, UnsupportedLayer
from coppice.formats.onnx.file import opset
from coppice.onnx_operators import OPERATORS, Graph, GraphInput, GraphNode, OnnxNetwork, build
from coppice.onnx_operators.graph import Array
from coppice.tracing.network import Layer

#: Attributes of a Constant node that hold its value.
_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")
#: What the reference computes, but otherwise at every call, or not as tensors.
_NEVER = re.compile(r"Random|Bernoulli|Multinomial|Sequence|Optional|String|TfIdf|LabelEncoder|^(If|Loop|Scan)$")


def graph_of(model: onnx.ModelProto) -> Graph:
    """The graph as plain data; Constant nodes are constants, and every other node has a name of its own."""
    constants = {tensor.name: array_of(tensor) for tensor in model.graph.initializer}
    version = opset(model)
    nodes: list[GraphNode] = []
    taken: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
            continue
        name = node.name or f"{node.op_type}_{place}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(
            GraphNode(
                name=name,
                operator=node.op_type,
                version=version,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                attributes={attribute.name: _attribute(attribute) for attribute in node.attribute},
            )
        )
    return Graph(
        inputs=tuple(_input(entry) for entry in model.graph.input if entry.name not in constants),
        outputs=tuple(entry.name for entry in model.graph.output),
        nodes=tuple(nodes),
        constants=constants,
    )


def build_network(model: onnx.ModelProto, graph: Graph) -> OnnxNetwork:
    """The interpreter's module of a graph; raises UnsupportedLayer for an operator that nothing here computes."""
    version = opset(model)
    unknown = {node.operator for node in graph.nodes if node.operator not in OPERATORS}
    return build(graph, _evaluate, {name for name in unknown if _evaluable(name, version)})


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


def array_of(tensor: TensorProto) -> Array:
    """The values of a tensor in a type that torch has: bfloat16 in single precision, which holds it exactly."""
    array = numpy_helper.to_array(tensor)
    return array.astype(np.float32) if tensor.data_type == TensorProto.BFLOAT16 else np.asarray(array)


def value_of(node: NodeProto) -> AttributeProto:
    """The attribute of a Constant node that holds its value; raises UnsupportedLayer where it is text or sparse."""
    found: AttributeProto | None = next((one for one in node.attribute if one.name in _VALUES), None)
    if found is not None:
        return found
    raise UnsupportedLayer(
        f"the constant {node.output[0][:100]!r} is text or sparse, which Coppice can't compute.",
        field=node.name or None,
    )


def _constant(node: NodeProto) -> Array:
    attribute = value_of(node)
    if attribute.name == "value":
        return array_of(attribute.t)
    value = helper.get_attribute_value(attribute)
    return np.asarray(value, dtype=np.int64 if "int" in attribute.name else np.float32)


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


def _evaluable(name: str, version: int) -> bool:
    if _NEVER.search(name):
        return False
    try:
        load_op("", name, version)
    except Exception:  # noqa: BLE001  # whatever the reference says of an operator that it doesn't have
        return False
    return True


def _evaluate(node: GraphNode, arrays: Sequence[Array | None]) -> list[Array]:
    """The outputs of one node by ONNX's reference implementation."""
    attributes = {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    proto = helper.make_node(node.operator, node.inputs, node.outputs, **attributes)
    given = {name: array for name, array in zip(node.inputs, arrays, strict=True) if name and array is not None}
    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    outputs = [name for name in node.outputs if name]
    graph = helper.make_graph(
        [proto], "one_node", declared, [helper.make_value_info(name, onnx.TypeProto()) for name in outputs]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.version)])
    try:
        results = ReferenceEvaluator(model).run(None, given)
    except Exception as e:  # the reference is Python code that meets what its authors did not
        raise ForwardFailed(
            f"node {node.name!r} ({node.operator}) can't be computed by ONNX's reference: {str(e)[:200]}"
        ) from e
    return [np.asarray(result) for result in results]

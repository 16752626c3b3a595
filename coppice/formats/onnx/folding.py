"""What an exporter left to compute though nothing decides it but the file: the Shape of a constant."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from coppice.formats.onnx.bodies import captured
from coppice.formats.onnx.constants import tensor_of


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with constants in the place of such nodes; what only they read is left out.

    tf2onnx writes them for an einsum: the sizes of the weight that the exporter has turned already. Read as the sizes
    of that constant they'd have nothing to do with the weight that is multiplied.
    """
    graph = model.graph
    declared = {entry.name for entry in graph.input}
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer if tensor.name not in declared}
    shapes |= {node.output[0]: list(tensor_of(node).dims) for node in graph.node if node.op_type == "Constant"}
    asked = set()
    for node in graph.node:
        if node.op_type == "Shape" and not node.attribute and node.input[0] in shapes:
            asked.add(node.input[0])
            sizes = numpy_helper.from_array(np.array(shapes[node.input[0]], np.int64), node.output[0])
            node.CopyFrom(helper.make_node("Constant", [], list(node.output), name=node.name, value=sizes))
    read = {name for node in graph.node for name in (*node.input, *captured(node))}
    unread = asked - read - {entry.name for entry in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unread]:
        graph.initializer.remove(tensor)
    return model

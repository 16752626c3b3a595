"""The names in a graph: which layer a node is of, and names that are no larger than they need be."""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnx

from coppice.formats.onnx.bodies import bodies
from coppice.tracing.network import Layer

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


class LayerNames:
    """From the nodes of a graph to the layers of the user's model, as far as their names tell."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._names = {layer.path: layer.name for layer in layers} | {layer.name: layer.name for layer in layers}

    def of(self, node: str) -> str:
        """The layer of a node; the node's own name where no layer is known."""
        node = re.sub(r"(_token_\d+|/duplicated.*)+$", "", node)  # what ONNX Runtime adds
        path = _path(node)
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            for start in range(end):
                name = self._names.get(".".join(parts[start:end]))
                if name is not None:
                    return name
        return self._names.get(node, node)


def _path(node: str) -> str:
    """The path of the module that torch's exporter names a node after: "/layer1/layer1.0/conv1/Conv"."""
    path: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        above, dot, _ = part.rpartition(".")
        # An entry of a list or a sequence is told with the name of what holds it.
        if dot and path and path[-1].endswith(above):
            path[-1] = path[-1].removesuffix(above) + part
        else:
            path.append(part)
    return ".".join(path)


def shorten(model: onnx.ModelProto) -> None:
    """Rename what flows between nodes, in place: of a small model's file, long names are a tenth and more.

    Inputs, outputs, constants, and the nodes of the user's model keep their names.
    """
    del model.graph.value_info[:]
    if any(True for node in model.graph.node for _ in bodies(node)):
        return  # what a body takes from around it is known by name
    kept = {entry.name for entry in (*model.graph.output, *model.graph.initializer)}
    made = [name for node in model.graph.node for name in node.output if name and name not in kept]
    short = {name: f"t{number}" for number, name in enumerate(dict.fromkeys(made))}
    taken = kept | {entry.name for entry in model.graph.input}
    if taken & set(short.values()):
        return
    for node in model.graph.node:
        for kind in (node.input, node.output):
            for position, name in enumerate(kind):
                kind[position] = short.get(name, name)
        if node.op_type in _QUANTIZING:
            node.name = ""

"""Gathers that only reshape: torch.export writes `as_strided` as a list of all positions, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from coppice.onnx_operators import Graph, GraphNode


def with_reshapes(graph: Graph) -> Graph:
    """The graph with the attribute `arranged`, the sizes of the result, on such nodes."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    arranged = dict(_arranged(graph, makers))
    if not arranged:
        return graph
    nodes = (
        replace(node, attributes={**node.attributes, "arranged": arranged[node.name]})
        if node.name in arranged
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def _arranged(graph: Graph, makers: Mapping[str, GraphNode]) -> Iterator[tuple[str, list[int]]]:
    for node in graph.nodes:
        if node.operator != "Gather" or node.attributes.get("axis", 0) != 0 or node.inputs[1] not in graph.constants:
            continue
        before, index = makers.get(node.inputs[0]), graph.constants[node.inputs[1]]
        flat = before is not None and before.operator == "Reshape" and _is_flat(before, graph)
        if flat and index.ndim > 1 and np.array_equal(index.reshape(-1), np.arange(index.size)):
            yield node.name, list(index.shape)


def _is_flat(reshape: GraphNode, graph: Graph) -> bool:
    sizes = graph.constants.get(reshape.inputs[1])
    return sizes is not None and sizes.tolist() == [-1]

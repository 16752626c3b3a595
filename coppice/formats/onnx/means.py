"""Means that an exporter wrote as a sum and a division by a count of sizes: tf2onnx's layer norms.

A sum of squares over channels is what it is without those that are zero; a mean is not, and is verified otherwise. So
the interpreter must know which of both a reduction is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from coppice.onnx_operators import Graph, GraphNode

_SUMS = frozenset({"ReduceSum", "ReduceSumSquare"})
#: How a size gets from its Shape to a divisor.
_ON_THE_WAY = frozenset({"Cast", "Gather", "Identity", "Mul", "ReduceProd", "Reshape", "Slice", "Squeeze", "Unsqueeze"})


def with_means(graph: Graph) -> Graph:
    """The graph with the attribute `counted` on sums that are only divided, by numbers that come of sizes."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    reads = Counter(name for node in graph.nodes for name in (*node.inputs, *node.captured))
    counted = {
        node.inputs[0]
        for node in graph.nodes
        if node.operator == "Div" and reads[node.inputs[0]] == 1 and _of_sizes(node.inputs[1], makers, graph)
    }
    return replace(
        graph, nodes=tuple(_marked(node) if counted.intersection(node.outputs) else node for node in graph.nodes)
    )


def _marked(node: GraphNode) -> GraphNode:
    return replace(node, attributes={**node.attributes, "counted": 1}) if node.operator in _SUMS else node


def _of_sizes(name: str, makers: Mapping[str, GraphNode], graph: Graph) -> bool:
    waiting, found = [name], False
    while waiting:
        at = waiting.pop()
        if at in graph.constants or not at:
            continue
        node = makers.get(at)
        if node is None or (node.operator not in _ON_THE_WAY and node.operator != "Shape"):
            return False
        if node.operator == "Shape":
            found = True
        else:
            waiting += node.inputs
    return found

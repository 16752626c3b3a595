"""Graphs inside nodes: the bodies of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, NodeProto


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs of a node, outermost ones only."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_within(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes of a graph, with those of the bodies in it."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from nodes_within(body)


def computing(graph: GraphProto) -> list[NodeProto]:
    """The nodes of a graph that compute: a Constant doesn't."""
    return [node for node in graph.node if node.op_type != "Constant"]


def branch_of(node: NodeProto, name: str) -> GraphProto:
    """The body that is the attribute of that name."""
    found: GraphProto = next(attribute.g for attribute in node.attribute if attribute.name == name)
    return found


def captured(node: NodeProto) -> tuple[str, ...]:
    """What the bodies of a node take from the graph around it, by name."""
    return tuple(dict.fromkeys(name for body in bodies(node) for name in taken(body)))


def taken(graph: GraphProto) -> tuple[str, ...]:
    """What a body takes from the graph around it, by name."""
    return tuple(dict.fromkeys(_taken(graph)))


def _taken(graph: GraphProto) -> Iterator[str]:
    own = {entry.name for entry in (*graph.input, *graph.initializer)}
    for node in graph.node:
        yield from (name for name in (*node.input, *captured(node)) if name and name not in own)
        own.update(node.output)
    yield from (entry.name for entry in graph.output if entry.name not in own)

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


def captured(node: NodeProto) -> tuple[str, ...]:
    """What the bodies of a node take from the graph around it, by name."""
    return tuple(dict.fromkeys(name for body in bodies(node) for name in _taken(body)))


def _taken(graph: GraphProto) -> Iterator[str]:
    own = {entry.name for entry in (*graph.input, *graph.initializer)}
    for node in graph.node:
        yield from (name for name in (*node.input, *captured(node)) if name and name not in own)
        own.update(node.output)
    yield from (entry.name for entry in graph.output if entry.name not in own)

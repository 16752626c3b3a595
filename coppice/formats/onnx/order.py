"""The order of nodes: each after those that it reads from, as the specification wants it.

ONNX Runtime runs a graph in any order, and its tool for half precision puts its casts at the end.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import onnx

from coppice.formats.onnx.bodies import captured


def put_in_order(model: onnx.ModelProto) -> None:
    """Sort the nodes in place, moving none that needn't be; a graph with a circle stays as it is."""
    nodes = list(model.graph.node)
    maker = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    needs = [{maker[name] for name in (*node.input, *captured(node)) if name in maker} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for place, needed in enumerate(needs):
        for one in needed:
            readers[one].append(place)
    left = [len(needed) for needed in needs]
    ready = [place for place, count in enumerate(left) if not count]
    heapify(ready)
    order = []
    while ready:
        order.append(heappop(ready))
        for place in readers[order[-1]]:
            left[place] -= 1
            if not left[place]:
                heappush(ready, place)
    if order != sorted(order) and len(order) == len(nodes):
        del model.graph.node[:]
        model.graph.node.extend(nodes[place] for place in order)

"""Operators without a row: computed by ONNX's own reference on arrays, and kept whole on all sides.

The tracer knows no rule for the operation below, so every channel that touches it stays, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from coppice.onnx_operators.graph import Array, GraphNode
from coppice.onnx_operators.node import as_tensor

#: What computes one node: arrays in, arrays out; None where an input is left out.
Evaluate = Callable[[GraphNode, Sequence[Array | None]], Sequence[Array]]

#: An operation of torch takes no Python object, so it takes a number and finds the node here.
_NODES: dict[int, tuple[GraphNode, Evaluate]] = {}


@torch.library.custom_op("coppice::evaluated", mutates_args=())
def evaluated(tensors: Sequence[Tensor], number: int, reason: str) -> list[Tensor]:  # noqa: ARG001  # for the tracer
    """The outputs of a node that only ONNX's reference computes."""
    node, evaluate = _NODES[number]
    given = iter(tensor.detach() for tensor in tensors)
    # The reference knows the types of the file: doubled inputs are halved for it.
    arrays = [_single(next(given)).numpy() if name else None for name in node.inputs]
    doubled = any(tensor.dtype is torch.float64 for tensor in tensors)
    results = [torch.from_numpy(array.copy()) for array in evaluate(node, arrays)]
    return [result.double() if doubled and result.is_floating_point() else result for result in results]


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype is torch.float64 else tensor


class EvaluatedNode(nn.Module):
    """A node whose operator has no row; its constants ride along."""

    def __init__(self, *, node: GraphNode, tensors: dict[int, Tensor], evaluate: Evaluate) -> None:
        super().__init__()
        self.layer_name = node.name
        self.class_name = node.operator
        self.made_numbers = False
        self.wanted = len(node.outputs)
        self.given = tuple(bool(name) for name in node.inputs)
        self.held = {position: f"input_{position}" for position in tensors}
        self.numbers: dict[int, object] = {}
        self.stated: dict[str | int, object] = {}
        self.remembered = None
        self._number = len(_NODES)
        _NODES[self._number] = (node, evaluate)
        for position, tensor in tensors.items():
            self.register_buffer(self.held[position], tensor)

    def forward(self, *free: object) -> object:
        """All outputs."""
        rest = iter(free)
        tensors = [
            getattr(self, self.held[position]) if position in self.held else as_tensor(next(rest))
            for position, given in enumerate(self.given)
            if given
        ]
        reason = f"node {self.layer_name!r} is a {self.class_name}, which has no rule"
        results = tuple(evaluated(tensors, self._number, reason))
        return results[0] if self.wanted == 1 else results

"""Nodes that no row computes: what the reader of the file has for them does, and they are kept whole on all sides.

The tracer knows no rule for the operation below, so every channel that touches it stays, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from coppice.onnx_operators.graph import Array

#: What computes one node, whose constants it has: its other inputs by name, in; its outputs, out.
Evaluate = Callable[[Mapping[str, Array]], Sequence[Array]]

#: An operation of torch takes no Python object, so it takes a number and finds here what it needs.
_NODES: list[tuple[tuple[str, ...], Evaluate]] = []


class NotComputed(Exception):  # no error: the node is computed elsewhere
    """An option that a row doesn't compute; the message says which, as in "node 'x' ...": the node is evaluated."""


def enter(names: tuple[str, ...], evaluate: Evaluate) -> int:
    """The number of a node for `evaluated`, which gives it values by these names."""
    _NODES.append((names, evaluate))
    return len(_NODES) - 1


@torch.library.custom_op("coppice::evaluated", mutates_args=())
def evaluated(free: Sequence[Tensor], held: Sequence[Tensor], number: int, reason: str) -> list[Tensor]:  # noqa: ARG001
    """The outputs of a node for the values that are no constants; those are there for the tracer, as is the reason."""
    names, evaluate = _NODES[number]
    arrays = {name: _single(tensor.detach()).numpy() for name, tensor in zip(names, free, strict=True)}
    doubled = any(tensor.dtype is torch.float64 for tensor in (*free, *held))
    results = [torch.from_numpy(array.copy()) for array in evaluate(arrays)]
    return [result.double() if doubled and result.is_floating_point() else result for result in results]


def _single(tensor: Tensor) -> Tensor:
    # What computes the node knows the types of the file: doubled inputs are halved for it.
    return tensor.float() if tensor.dtype is torch.float64 else tensor

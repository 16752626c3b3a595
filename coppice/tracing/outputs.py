"""What a forward returns, opened down to its tensors: whatever holds one unseen would be neither kept nor compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import SUPPORTED_NODES, tree_leaves

from coppice.errors import ForwardFailed

#: Deeper than outputs are nested; an object that holds itself ends here.
MAX_DEPTH = 16


def opened(returned: Any) -> Any:
    """The same in lists and dictionaries; raises ForwardFailed when there is no tensor in it."""
    outputs = _opened(returned, MAX_DEPTH)
    if not any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(outputs)):
        raise ForwardFailed(
            f"The model's forward returned a {type(returned).__name__} in which there is no tensor, so there is nothing"
            " that pruning could be held to. Return the outputs as a tensor, a tuple or a dict."
        )
    return outputs


def _opened(value: Any, depth: int) -> Any:
    if isinstance(value, torch.Tensor | nn.Module | type | int) or depth == 0:
        return value
    if isinstance(value, Mapping):
        return {key: _opened(entry, depth - 1) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_opened(entry, depth - 1) for entry in value]
    if type(value) in SUPPORTED_NODES:
        return value
    fields = _fields(value)
    return {name: _opened(entry, depth - 1) for name, entry in fields.items()} if fields else value


def _fields(value: Any) -> dict[str, Any]:
    """What an object holds: the fields of a dataclass, also one with slots, or its attributes."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return dict(getattr(value, "__dict__", {}))

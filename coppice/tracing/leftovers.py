"""Tensors that a model puts by while it runs: a cache of biases, the features of the last batch.

They go when the run is over. A copy of the model that is cut afterwards would find them too wide, and the next run of
the same model must start from where this one did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from coppice.tracing.places import OWN

#: Attribute -> its value, and a copy of the value where that may change in place.
_Contents = dict[str, tuple[Any, Any]]


@contextmanager
def no_leftovers(module: nn.Module) -> Iterator[None]:
    """Attributes that hold tensors come back as they were; parameters and buffers are not touched."""
    before = [(vars(part), _contents(part)) for part in module.modules()]
    try:
        yield
    finally:
        for namespace, contents in before:
            _take_back(namespace, contents)


def _contents(module: nn.Module) -> _Contents:
    return {
        name: (value, value.copy() if type(value) in (dict, list) else None)
        for name, value in vars(module).items()
        if name not in OWN
    }


def _take_back(namespace: MutableMapping[str, Any], before: Mapping[str, tuple[Any, Any]]) -> None:
    for name, value in list(namespace.items()):
        if name in OWN or not _holds_tensor(value):
            continue
        old, copied = before.get(name, (None, None))
        if name not in before:
            del namespace[name]
        elif copied is not None and value is old:
            value.clear()
            (value.update if type(value) is dict else value.extend)(copied)
        else:
            namespace[name] = old


def _holds_tensor(value: Any) -> bool:
    if type(value) in (list, tuple, dict):
        entries = value.values() if type(value) is dict else value
        return any(isinstance(entry, torch.Tensor) for entry in entries)
    return isinstance(value, torch.Tensor)

"""Objects of torch and torchvision as older releases pickled them, given the attributes that today's classes read.

A pickle restores attributes and runs no constructor, so an object of before an option was added lacks that option. Its
value is what the constructor says by default: what the object did when the option was not there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

_PACKAGES = frozenset({"torch", "torchvision"})
#: Attributes under another name -> today's: torchvision's data sets before 0.2.2 kept the two halves apart.
_RENAMED = {"train_data": "data", "test_data": "data", "train_labels": "targets", "test_labels": "targets"}
#: Transforms lie in data sets in wrappers in loaders; deeper is the data itself.
MAX_DEPTH = 8
#: A list longer than this holds samples.
MAX_ENTRIES = 1000


def bring_up_to_date(loader: Any) -> None:
    """Complete the loader and every object of torch's and torchvision's that it holds."""
    seen: set[int] = set()
    _visit(loader, MAX_DEPTH, seen)


def _visit(value: Any, depth: int, seen: set[int]) -> None:
    if depth == 0 or id(value) in seen or isinstance(value, (torch.Tensor, np.ndarray, type, str)):
        return
    seen.add(id(value))
    if isinstance(value, (list, tuple)):
        held = iter(value if len(value) <= MAX_ENTRIES else ())
    elif isinstance(value, Mapping):
        held = iter(value.values() if len(value) <= MAX_ENTRIES else ())
    elif hasattr(value, "__dict__"):
        if type(value).__module__.partition(".")[0] in _PACKAGES:
            vars(value).update(_missing(value))
        held = iter(list(vars(value).values()))
    else:
        return
    for entry in held:
        _visit(entry, depth - 1, seen)


def _missing(value: Any) -> dict[str, Any]:
    """What today's constructor would have set and the object does not have."""
    own, kind = vars(value), type(value)
    found = {new: own[old] for old, new in _RENAMED.items() if old in own and new not in own}
    if isinstance(value, nn.Module):  # transforms became modules in torchvision 0.8
        found |= {name: entry for name, entry in vars(nn.Module()).items() if name not in own}
    for name, default in _defaults(kind):
        # Where the class has a property of that name, the value is kept behind it.
        attribute = f"_{name}" if hasattr(kind, name) else name
        if attribute not in own and attribute not in found:
            found[attribute] = default
    return found


def _defaults(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (ValueError, TypeError):  # a class without a signature has no options either
        return
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            yield parameter.name, parameter.default

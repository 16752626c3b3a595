"""Where modules keep integers: in attributes, in lists, tuples and dictionaries there, and in configuration objects.

A place is named by a module, an attribute, and for a configuration object the attributes on the way, with dots:
`blocks.0.attn`, `config.hidden_size`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

from coppice.tracing.network import Resizable

#: Attributes of every nn.Module; none of them states a size.
OWN = frozenset(vars(nn.Module()))
#: Configurations hold configurations (a vision model and a text model), not much deeper.
MAX_DEPTH = 3
#: Longer lists are data, not sizes.
MAX_ENTRIES = 256

#: Where a number lies within an attribute's value: indices of sequences, keys of dictionaries.
Inside = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An attribute that holds integers, and the namespace in which its value stands."""

    module: str
    attribute: str
    namespace: MutableMapping[str, Any]
    value: Any
    inherited: bool = False  # of the class: an instance that needs another number gets its own

    @property
    def key(self) -> str:
        """The attribute's name in the namespace: the last part of it."""
        return self.attribute.rpartition(".")[2]


def holders(model: nn.Module) -> Iterator[Holder]:
    """Every attribute of the model's modules, and of their configuration objects, that holds integers; each once."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        if isinstance(module, (Resizable, torch.jit.ScriptModule)):
            continue
        yield from _in_namespace(path, "", vars(module), OWN, seen, 0)
        for name, value in class_numbers(module).items():
            if name not in vars(module):
                yield Holder(module=path, attribute=name, namespace=vars(module), value=value, inherited=True)


def class_numbers(module: nn.Module) -> dict[str, int]:
    """The integers that a module's class, or one that it derives from, keeps for all of its instances."""
    found: dict[str, int] = {}
    for kind in type(module).__mro__:
        if kind.__module__.partition(".")[0] not in ("torch", "builtins"):
            own = {name: value for name, value in vars(kind).items() if type(value) is int}
            found = {name: value for name, value in own.items() if not name.startswith("__")} | found
    return found


def _in_namespace(
    module: str,
    prefix: str,
    namespace: MutableMapping[str, Any],
    without: frozenset[str],
    seen: set[int],
    depth: int,
) -> Iterator[Holder]:
    if id(namespace) in seen:
        return
    seen.add(id(namespace))
    for name, value in list(namespace.items()):
        if name in without or not isinstance(name, str):
            continue
        if type(value) is int or (_is_plain(value) and any(True for _ in numbers(value))):
            yield Holder(module=module, attribute=prefix + name, namespace=namespace, value=value)
        elif depth < MAX_DEPTH and is_configuration(value):
            yield from _in_namespace(module, f"{prefix}{name}.", vars(value), frozenset(), seen, depth + 1)


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether it is a list, tuple or dictionary of nothing but plain data."""
    if isinstance(value, (list, tuple)) and len(value) <= MAX_ENTRIES and depth:
        return all(
            _is_plain(entry, depth - 1) or isinstance(entry, (int, float, str)) or entry is None for entry in value
        )
    if type(value) is dict and len(value) <= MAX_ENTRIES and depth:
        return all(
            isinstance(key, (int, str))
            and (_is_plain(entry, depth - 1) or isinstance(entry, (int, float, str)) or entry is None)
            for key, entry in value.items()
        )
    return False


def is_configuration(value: Any) -> bool:
    """An object of the user's, or of a library's, that holds data: hyper-parameters, usually."""
    if isinstance(value, (nn.Module, torch.Tensor, type, FunctionType, ModuleType, enum.Enum)) or callable(value):
        return False
    home = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and home not in ("torch", "builtins", "functools", "logging", "threading")


def numbers(value: Any) -> Iterator[tuple[Inside, int]]:
    """The integers in an attribute's value, and where in it each lies."""
    if type(value) is int:
        yield (), value
    elif isinstance(value, (list, tuple)):
        for place, entry in enumerate(value):
            yield from (((place, *inside), number) for inside, number in numbers(entry))
    elif type(value) is dict:
        for key, entry in value.items():
            yield from (((key, *inside), number) for inside, number in numbers(entry))


def replaced(value: Any, number: Callable[[Inside, int], Any], inside: Inside = ()) -> Any:
    """A copy of the value with every integer what `number` gives for it; the kinds of containers stay."""
    if type(value) is int:
        return number(inside, value)
    if isinstance(value, (list, tuple)):
        entries = [replaced(entry, number, (*inside, place)) for place, entry in enumerate(value)]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    if type(value) is dict:
        return {key: replaced(entry, number, (*inside, key)) for key, entry in value.items()}
    return value


def put(model: nn.Module, attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Set attributes of the model's modules, in place; the kind of a list or tuple that was there stays."""
    for path, values in attributes.items():
        for attribute, value in values.items():
            *way, name = attribute.split(".")
            target: Any = model.get_submodule(path)
            for step in way:
                target = getattr(target, step)
            vars(target)[name] = _alike(getattr(target, name), value)


def _alike(before: Any, value: Any) -> Any:
    """`value`, which may have been through JSON, in the containers and under the keys of `before`."""
    if isinstance(before, (list, tuple)):
        entries = [_alike(old, new) for old, new in zip(before, value, strict=True)]
        return type(before)(*entries) if hasattr(before, "_fields") else type(before)(entries)
    if type(before) is dict:
        return {key: _alike(old, value[key] if key in value else value[str(key)]) for key, old in before.items()}
    return value

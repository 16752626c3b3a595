"""Inputs that forward takes by keyword: the engine gives all inputs in order, a hook of the module names the last ones.

The hook is torch's own kind. It belongs to the job and is taken off again before the model goes back to its user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


class ByName:
    """Gives forward the last of its inputs by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __call__(
        self, _module: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs as forward takes them."""
        first = len(inputs) - len(self.names)
        return inputs[:first], {**options, **dict(zip(self.names, inputs[first:], strict=True))}


def give_by_name(module: nn.Module, names: Sequence[str]) -> None:
    """From now on the module takes its last inputs in order and gives them to its forward under these names."""
    if names:
        module.register_forward_pre_hook(ByName(names), with_kwargs=True)


def names_of(module: nn.Module) -> tuple[str, ...]:
    """The names of the last inputs."""
    return next((hook.names for hook in module._forward_pre_hooks.values() if isinstance(hook, ByName)), ())


def forget_names(module: nn.Module) -> None:
    """Take the hook off a module, or off a copy of one."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, ByName):
            del module._forward_pre_hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)

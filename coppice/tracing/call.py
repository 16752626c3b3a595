"""One operator call as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from coppice.channels import Axes, Labels, Ledger

#: Axis -> labels, for axes that hold other channels in each block: the width of a head. The labels have as many axes as
#: the tensor, those along which nothing changes of size 1; along the axis itself, every line is one block.
Blocks = Mapping[int, Labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An ATen operator, its arguments by name, its outputs, and the labels of the tensors among them."""

    op: torch._ops.OpOverload
    arguments: Mapping[str, Any]
    outputs: Sequence[torch.Tensor]
    ledger: Ledger
    labels: Callable[[torch.Tensor], Axes]
    #: These positions stay, for the reason given, if anything ever reads the tensor: `when_read(tensor, labels, why)`.
    when_read: Callable[[torch.Tensor, Labels, str], None]
    #: The stacked axes of a tensor, whose labels proper are those of a stack; and how an output gets such axes.
    blocks: Callable[[torch.Tensor], Blocks]
    keep: Callable[[torch.Tensor, Blocks], None]
    #: Axes of the output whose sizes the code wrote out as numbers: what they count can't be removed from them.
    literal: frozenset[int] = frozenset()
    #: Whether an axis that is split into heads of some width loses whole heads; else every head loses width.
    whole_heads: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def axes(self, name: str) -> Axes:
        """Labels of the tensor argument `name`."""
        return self.labels(self.arguments[name])

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor argument, those in lists too."""
        for value in self.arguments.values():
            if isinstance(value, torch.Tensor):
                yield value
            elif isinstance(value, (list, tuple)):
                yield from (item for item in value if isinstance(item, torch.Tensor))

    def instead(self, tensor: torch.Tensor, axes: Axes) -> Call:
        """The same call, with other labels of one of its tensors."""
        return replace(self, labels=lambda one: axes if one is tensor else self.labels(one))


#: Turns the labels of a call's inputs into those of its outputs, one entry per output tensor.
Rule = Callable[[Call], Sequence[Axes]]


def fixed(shape: Sequence[int]) -> Axes:
    """Labels of a tensor of which nothing may be removed."""
    return tuple(np.zeros(length, dtype=np.int64) for length in shape)


def bind(op: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call under the names of the operator's schema, defaults filled in."""
    bound: dict[str, Any] = {}
    for place, argument in enumerate(op._schema.arguments):
        if place < len(args):
            bound[argument.name] = args[place]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value
    return bound

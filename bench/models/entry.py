"""One model of the zoo: how to build it with random weights, and what to call it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

Inputs = tuple[torch.Tensor, ...]
#: Samples of an input: two, so that nothing can take the batch for another axis unseen.
BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model under the name that the table shows, in the family by which it is summed."""

    name: str
    family: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    #: Imports what building needs, where that takes seconds: once, before the processes are forked.
    ready: Callable[[], object] = tuple


def floats(*shapes: tuple[int, ...], batch: int = BATCH) -> Callable[[], Inputs]:
    """Normal numbers of the shapes of one sample."""
    return lambda: tuple(torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1)) for shape in shapes)


def tokens(*lengths: int, below: int) -> Callable[[], Inputs]:
    """Integers below a limit, one sequence of each length."""
    return lambda: tuple(
        torch.randint(below, (BATCH, length), generator=torch.Generator().manual_seed(1)) for length in lengths
    )

"""Outputs in whatever a forward returns keep their channels, and are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import coppice
from coppice.errors import ForwardFailed

INPUT = torch.zeros(1, 6)


@dataclass
class Scores:
    scores: torch.Tensor
    extra: object = None


@dataclass(slots=True)
class Slotted:
    scores: torch.Tensor


class Named(NamedTuple):
    scores: torch.Tensor


class Plain:
    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores
        self.own = self


class Returning(nn.Module):
    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.head = nn.Linear(8, 4)
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.head(self.body(x).relu()))


WRAPS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a tensor": lambda x: x,
    "a dict": lambda x: {"scores": [x]},
    "a named tuple": Named,
    "a dataclass": Scores,
    "a dataclass with slots": Slotted,
    "an object": Plain,
    "an object in an object": lambda x: Scores(scores=torch.zeros(1), extra=[Plain(x)]),
    "a distribution": lambda x: torch.distributions.Categorical(logits=x),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_the_channels_of_an_output_stay(wrap: Callable[[torch.Tensor], Any]) -> None:
    result = coppice.prune(Returning(wrap), percent=0.5, example_inputs=INPUT)
    shapes = {name: tuple(p.shape) for name, p in result.model.named_parameters()}
    assert shapes == {"body.weight": (4, 6), "body.bias": (4,), "head.weight": (4, 4), "head.bias": (4,)}


@pytest.mark.parametrize("nothing", [lambda _: None, lambda _: [], lambda x: float(x.sum())])
def test_a_forward_that_returns_no_tensor_is_refused(nothing: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(ForwardFailed, match="no tensor"):
        coppice.prune(Returning(nothing), percent=0.5, example_inputs=INPUT)

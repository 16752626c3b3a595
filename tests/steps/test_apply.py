"""Copies: what a model holds is copied once, and as what it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from coppice.steps.apply import copied


class Options(dict[str, Any]):
    """Names as attributes; asked for any other, it raises KeyError, also where Python asks how to copy it."""

    __getattr__ = dict.__getitem__


class Shared(nn.Module):
    """One weight and one list in two places, options, and a dictionary that is filled while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.options = Options(width=4, inner={"deep": [1, 2]})
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.names = ["x"]
        self.again = self.names
        self.cache: dict[str, torch.Tensor] = {}
        self.same_cache = self.cache


def test_a_copy_shares_within_itself_what_the_model_shares_and_nothing_with_the_model() -> None:
    model = Shared().train()
    model.a.register_forward_hook(lambda *_: None)
    copy = copied(model)

    assert type(copy) is Shared
    assert isinstance(copy.options, Options)
    assert copy.options == model.options
    assert copy.options["inner"]["deep"] is not model.options["inner"]["deep"]
    assert copy.b.weight is copy.a.weight
    assert copy.a.weight is not model.a.weight
    assert torch.equal(copy.a.weight, model.a.weight)
    assert copy.names is copy.again
    assert copy.names is not model.names
    assert copy.cache is copy.same_cache
    assert copy.cache is not model.cache
    assert len(copy.a._forward_hooks) == 1
    assert copy.a._forward_hooks is not model.a._forward_hooks


def test_tensors_take_the_place_of_others_wherever_a_model_refers_to_them() -> None:
    model = nn.LSTM(3, 4)  # it keeps its weights in a list of its own, too
    instead = nn.Parameter(torch.zeros(16, 3))
    copy = copied(model, {id(model.weight_ih_l0): instead})
    assert copy.weight_ih_l0 is instead
    assert next(iter(copy._flat_weights)) is instead  # type: ignore[arg-type]

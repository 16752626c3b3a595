"""Ctrl-C in the middle of a pass over the user's model: whatever was under way, all is as it was before the call."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import coppice

INPUT = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
#: Which pass over the model is interrupted: the first, and one of those that come later in every call.
PASSES = (1, 2)


class Interrupted(nn.Module):
    """Draws from the global generators as it runs, and is interrupted in one of its passes, of whichever copy."""

    passes, at = 0, 0

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.fc = nn.Conv2d(1, 8, 3), nn.Dropout(), nn.Linear(8 * 36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.rand(1)
        random.random()
        np.random.rand()
        x = self.conv(x).relu()
        Interrupted.passes += 1
        if Interrupted.passes == Interrupted.at:
            raise KeyboardInterrupt
        last: torch.Tensor = self.fc(self.drop(x).flatten(1))
        return last


#: The calls of the library.
CALLS: dict[str, Callable[[nn.Module, coppice.Plan, Path], object]] = {
    "prune": lambda model, _, out: coppice.prune(model, percent=0.5, samples=INPUT),
    "apply": lambda model, plan, out: coppice.apply(model, plan, samples=INPUT),
    "inspect": lambda model, _, out: coppice.inspect(model, example_inputs=INPUT),
    "sweep": lambda model, _, out: coppice.sweep(model, percents=[0.25, 0.5], samples=INPUT),
    "quantize": lambda model, _, out: coppice.quantize(model, precision="int8", samples=INPUT, out=out),
}


@pytest.mark.parametrize("at", PASSES)
@pytest.mark.parametrize("call", CALLS)
def test_an_interrupted_call_leaves_everything_as_it_was(call: str, at: int, tmp_path: Path) -> None:
    model = Interrupted().train()
    model.drop.eval()
    Interrupted.at = 0
    plan = coppice.prune(model, percent=0.5, example_inputs=INPUT).plan
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), pickle.dumps(np.random.get_state())
    modes = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    Interrupted.passes, Interrupted.at = 0, at

    with pytest.raises(KeyboardInterrupt):
        CALLS[call](model, plan, tmp_path / "out")

    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert [part.training for part in model.modules()] == [True, True, False, True]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), pickle.dumps(np.random.get_state())) == states[1:]
    assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()) == modes
    # No dispatch mode is left behind either: the same call comes to its end.
    Interrupted.at = 0
    assert CALLS[call](model, plan, tmp_path / "again")

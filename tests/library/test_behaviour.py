"""What a call leaves as it was, what it tells on its way, and that it does the same again."""

from __future__ import annotations

import copy
import hashlib
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import coppice
from coppice.records.report import Progress
from tests.engine.models import Net

INPUT = torch.zeros(1, 1, 28, 28)

_DIGEST = """
import hashlib, torch, coppice
from tests.engine.models import Net
torch.manual_seed(0)
model = Net()
x = torch.randn(64, 1, 28, 28)
result = coppice.prune(model, percent=0.5, criterion={criterion!r}, samples=x, seed=7)
digest = hashlib.sha256(result.plan.model_dump_json().encode())
for name, tensor in result.model.state_dict().items():
    digest.update(name.encode() + tensor.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["random", "obs"])
def test_two_processes_come_to_the_same_bytes(criterion: str) -> None:
    def digest() -> str:
        command = [sys.executable, "-c", _DIGEST.format(criterion=criterion)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    first = digest()
    assert len(first.strip()) == hashlib.sha256().digest_size * 2
    assert digest() == first


def test_the_states_of_the_process_stay_as_they_were() -> None:
    model, samples = Net().train(), torch.randn(32, 1, 28, 28)
    torch.set_grad_enabled(False)
    threads = torch.get_num_threads()
    before = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state()
    try:
        coppice.prune(model, percent=0.5, samples=samples)
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    assert random.getstate() == before[0]
    assert pickle.dumps(np.random.get_state()) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("step", ["trace", "score", "verify", "restore"])
def test_what_a_listener_raises_comes_through_and_the_model_is_untouched(kind: type[BaseException], step: str) -> None:
    model = Net().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise kind

    random_state = torch.get_rng_state()
    with pytest.raises(kind):
        coppice.prune(model, percent=0.5, example_inputs=INPUT, progress=stop)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_every_function_tells_how_far_it_is(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    x = torch.zeros(1, 1, 8, 8)
    told: list[Progress] = []
    plan = coppice.prune(model, percent=0.5, example_inputs=x, progress=told.append).plan
    assert [one.step for one in told] == ["trace", "score", "verify", "restore"]
    told.clear()
    coppice.apply(model, plan, example_inputs=x, progress=told.append)
    assert [one.step for one in told] == ["trace", "verify", "restore"]
    told.clear()
    coppice.sweep(model, percents=[0.25, 0.5], example_inputs=x, progress=told.append)
    assert [one.fraction for one in told] == sorted(one.fraction for one in told)
    assert {"trace", "score", "verify"} <= {one.step for one in told}
    told.clear()
    coppice.quantize(model, precision="float16", out=tmp_path, example_inputs=x, progress=told.append)
    assert told
    told.clear()
    coppice.inspect(model, example_inputs=x, progress=told.append)
    assert [one.step for one in told] == ["trace"]


def test_gradients_types_modes_and_hooks_stay_with_the_result() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3)).double()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    calls: list[int] = []
    model[3].register_forward_hook(_Count(calls))
    result = coppice.prune(model, percent=0.5, example_inputs=torch.zeros(1, 1, 8, 8, dtype=torch.float64)).model

    assert [part.training for part in result] == [True, False, True, True]
    assert [one.requires_grad for one in result.parameters()] == [one.requires_grad for one in model.parameters()]
    assert {one.dtype for one in result.parameters()} == {torch.float64}
    assert len(result[3]._forward_hooks) == 1


class _Count:
    def __init__(self, calls: list[int]) -> None:
        self.calls = calls

    def __call__(self, module: nn.Module, given: tuple[torch.Tensor, ...], found: torch.Tensor) -> None:
        self.calls.append(1)


def test_the_result_copies_pickles_trains_and_loads_like_any_module(tmp_path: Path) -> None:
    result = coppice.prune(Net(), percent=0.5, example_inputs=INPUT).model.eval()
    expected = result(INPUT)
    torch.save(result, tmp_path / "model.pt")
    copies = [
        copy.deepcopy(result),
        pickle.loads(pickle.dumps(result)),
        torch.load(tmp_path / "model.pt", weights_only=False),
    ]
    copies[0].load_state_dict(result.state_dict())
    for one in copies:
        assert torch.equal(one(INPUT), expected)
    result.train()(INPUT).sum().backward()
    assert all(parameter.grad is not None for parameter in result.parameters())

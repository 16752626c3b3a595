"""What a type checker knows in a user's code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SNIPPET = """
import coppice, torch
from torch import nn

class Net(nn.Module): ...

def use(net: Net, x: torch.Tensor, plan: coppice.Plan) -> None:
    result = coppice.prune(net, percent=0.4, omit=["fc"], example_inputs=x, progress=lambda told: print(told.step))
    reveal_type(result.model)
    reveal_type(coppice.apply(net, plan.without("fc"), example_inputs=x))
    reveal_type(coppice.prune("net.onnx", percent=0.4).model)
    coppice.prune(net, percent="much")
"""


@pytest.mark.slow
def test_a_result_has_the_users_class(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(_SNIPPET)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(snippet)],
        capture_output=True,
        text=True,
    )
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert 'note: Revealed type is "snippet.Net"' in lines
    assert 'note: Revealed type is "coppice.library.results.Result[snippet.Net]"' in lines
    assert 'note: Revealed type is "Any"' in lines
    assert sum(line.startswith("error:") for line in lines) == 1, done.stdout

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
        [sys.executable, "-m", "mypy", "--strict", str(snippet)],
        capture_output=True,
        text=True,
    )
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert 'note: Revealed type is "snippet.Net"' in lines
    assert 'note: Revealed type is "coppice.library.results.Result[snippet.Net]"' in lines
    assert 'note: Revealed type is "Any"' in lines
    assert sum(line.startswith("error:") for line in lines) == 1, done.stdout


_CLIENT = """
import coppice

def use(client: coppice.Client, plan: coppice.Plan) -> None:
    job = client.prune_pytorch("net.pt", percent=0.4, class_def="net.py", model_name="Net", samples=[], plan=plan)
    reveal_type(job)
    reveal_type(job.wait().after.parameters)
    reveal_type(client.inspect_onnx("net.onnx").wait())
    reveal_type(client.sweep_keras("net.h5", percents=[0.2, 0.4]))
    reveal_type([listed.state for listed in client.jobs()])
    reveal_type(job.download("out"))
    client.prune_pytorch("net.pt", percnt=0.4)
    client.quantize_keras("net.h5", precision=8)
"""


@pytest.mark.slow
def test_the_client_is_strictly_typed(tmp_path: Path) -> None:
    snippet = tmp_path / "sending.py"
    snippet.write_text(_CLIENT)
    command = [sys.executable, "-m", "mypy", "--strict", str(snippet)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    revealed = [line.partition('"')[2].rstrip('"') for line in lines if line.startswith("note: Revealed type is")]
    assert [text.replace("builtins.", "") for text in revealed] == [
        "coppice.client.job.Job[coppice.records.report.Report]",
        "int",
        "coppice.records.report.Inspection",
        "coppice.client.job.Job[coppice.records.sweep.Sweep]",
        "list[coppice.records.job.JobState]",
        "list[pathlib.Path]",
    ]
    errors = [line for line in lines if line.startswith("error:")]
    assert len(errors) == 2, done.stdout
    assert "percnt" in errors[0]
    assert "precision" in errors[1]

"""The real child behind the real walls: a model and its class go in, a smaller model comes out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from torch import nn

from coppice.errors import ClassFileInvalid, CoppiceError, OutOfMemory, TimeLimit, UserCodeError
from coppice.records.frameworks import Framework
from coppice.records.inputs import Input
from coppice.records.report import Check, Progress, Report
from coppice.records.request import Part, Request
from coppice.sandbox.limits import Limits
from coppice.sandbox.opening import child_command
from coppice.sandbox.runner import BoxRunner, private
from coppice.settings import load

from .conftest import Lab, walls

CLASS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.fc1 = nn.Linear(8 * 6 * 6, 10)
{more}
    def forward(self, x):
        return self.fc1(torch.relu(self.conv1(x)).flatten(1))
"""

pytestmark = pytest.mark.slow


def job(lab: Lab, *, more: str = "") -> Path:
    """A job's folder with the state dict and the class file of a small network."""
    weights = nn.ModuleDict({"conv1": nn.Conv2d(1, 8, 3), "fc1": nn.Linear(8 * 6 * 6, 10)}).state_dict()
    folder = lab.root / "job"
    request = Request(
        framework=Framework.PYTORCH,
        percent=0.5,
        input_size=(Input(shape=(1, 8, 8)),),
        model_name="Net",
        files={Part.WEIGHTS: "net.pth", Part.CLASS_DEF: "net.py"},
    )
    for part, name in request.files.items():
        (folder / "in" / part).mkdir(parents=True)
        (folder / "in" / part / name).touch()
    torch.save(weights, folder / "in" / Part.WEIGHTS / "net.pth")
    (folder / "in" / Part.CLASS_DEF / "net.py").write_text(CLASS.format(more=more))
    (folder / "request.json").write_text(request.model_dump_json())
    return folder


def runner(lab: Lab, **limits: int) -> BoxRunner:
    given = load({}, isolation=lab.isolation, **limits)
    opened = BoxRunner(walls(given), limits=Limits.of(given), command=child_command, scratch=private(lab.boxes), warm=0)
    lab.opened.append(opened)
    return opened


def test_a_network_comes_back_with_half_its_channels(any_lab: Lab) -> None:
    folder, steps = job(any_lab), list[Progress]()
    report = asyncio.run(runner(any_lab).run(folder, steps.append))
    assert isinstance(report, Report)
    assert report.verification.check is Check.EXACT
    assert (report.before.parameters, report.after.parameters) == (8 * 10 + 288 * 10 + 10, 4 * 10 + 144 * 10 + 10)
    assert {path.name for path in (folder / "out").iterdir()} == {artifact.file for artifact in report.artifacts}
    assert [step.step for step in steps][:1] == ["read"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("        while True: pass", TimeLimit),
        ("        self.register_buffer('huge', torch.ones(25 * 10**9))", OutOfMemory),
        ("        held = bytearray(100 * 10**9)", OutOfMemory),
        ("        import os; os._exit(0)", CoppiceError),
        ("        open('/etc/passwd')", UserCodeError),
        ("        import socket; socket.socket()", UserCodeError),
        ("    def", ClassFileInvalid),
    ],
    ids=["loop", "tensor", "bytes", "exit", "passwd", "socket", "syntax"],
)
def test_what_the_class_file_tries_is_named(lab: Lab, more: str, expected: type[CoppiceError]) -> None:
    with pytest.raises(expected):
        asyncio.run(runner(lab, job_cpu_seconds=20).run(job(lab, more=more), print))

"""The child as its sandbox sees it: lines on a pipe, files in a folder, an exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coppice.errors import ForwardFailed, OutOfMemory
from coppice.records.report import Failure, Progress, Report
from tests.formats.models import MODELS, NET, Model, built, upload

#: Every test starts a process that imports torch.
pytestmark = pytest.mark.slow


def child(folder: Path, *, said: str = "go\n") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coppice.child", str(folder)]
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=300)


def failure(folder: Path) -> Failure:
    return Failure.model_validate_json((folder / "out" / "failure.json").read_bytes())


def model(text: str) -> Model:
    return Model(source=text, name="Net", input_size=(1, 28, 28), omit=("fc1", "fc2"))


def test_a_job_ends_with_a_report_and_its_files(tmp_path: Path) -> None:
    noisy = model("print('{\"ready\": false}')\nimport sys; print('compiler:', 'torch._dynamo' in sys.modules)\n" + NET)
    request, _ = upload(tmp_path, noisy)
    done = child(tmp_path)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert json.loads(first) == {"ready": True}
    steps = [Progress.model_validate_json(line) for line in rest]
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    assert "ready" in done.stderr  # the user's print
    assert "compiler: False" in done.stderr  # a quarter of the time that a process of a job takes to start
    report = Report.model_validate_json((tmp_path / "out" / "report.json").read_bytes())
    assert report.request == request
    assert report.after.parameters == 596_042
    assert "Total params: 596,042\n" in report.summary
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {artifact.file for artifact in report.artifacts}


def test_a_child_that_is_not_wanted_does_nothing(tmp_path: Path) -> None:
    upload(tmp_path, MODELS["document"])
    done = child(tmp_path, said="")
    assert done.returncode == 0
    assert done.stdout == '{"ready": true}\n'
    assert not (tmp_path / "out").exists()


LATE = NET.replace(
    "    def forward(self, x):\n",
    "    def forward(self, x):\n"
    "        self.calls = getattr(self, 'calls', 0) + 1\n"
    "        if self.calls > 1:\n"
    "            raise ValueError('tired')\n",
)

ENDINGS: dict[str, tuple[str, Callable[[Failure], bool], int]] = {
    "a forward that fails later": (
        LATE,
        lambda found: found.code == ForwardFailed.code and "model.py, line 18, in forward" in found.message,
        ForwardFailed.exit_code,
    ),
    "100 GB in the constructor": (
        NET.replace("self.dropout1 = ", "self.big = torch.ones(25, 1_000_000_000); self.dropout1 = "),
        lambda found: found.code == OutOfMemory.code and "memory" in found.message,
        OutOfMemory.exit_code,
    ),
    "100 GB of Python": (
        "hoard = bytearray(100_000_000_000)\n" + NET,
        lambda found: found.code == OutOfMemory.code,
        OutOfMemory.exit_code,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_of_the_users_code_is_told_as_such(ending: str, tmp_path: Path) -> None:
    text, is_told, status = ENDINGS[ending]
    upload(tmp_path, model(text), weights=built(NET, "Net").state_dict())
    # Address space as in the sandbox: what is asked for and never touched would otherwise be given.
    command = ["prlimit", f"--as={4 * 1024**3}", sys.executable, "-m", "coppice.child", str(tmp_path)]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, check=False, timeout=300)
    found = failure(tmp_path)
    assert is_told(found), found
    assert done.returncode == status


def test_an_exit_hook_of_the_users_code_does_not_run(tmp_path: Path) -> None:
    text = "import atexit, os\natexit.register(os._exit, 3)\n" + NET
    upload(tmp_path, model(text), weights=built(NET, "Net").state_dict())
    assert child(tmp_path).returncode == 0

"""Ctrl-C and SIGTERM end a command in order: nothing half-written is left, and a job at a service is cancelled."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coppice.settings import Settings
from tests.cli.conftest import Coppice
from tests.serving import COMMAND, Service, serving

SMALL = ("weights.pth", "--class-def", "model.py", "--model-name", "Small", "--input-size", "1,8,8")
PRUNE = (str(COMMAND), "prune", *SMALL, "--percent", "0.4")

#: More than any test waits: what is not stopped runs into the test's own limit.
ASLEEP = "\nimport time, sys\nSmall.forward = lambda self, x: (print('asleep', flush=True), time.sleep(3600))\n"

pytestmark = pytest.mark.slow


@pytest.fixture
def asleep(files: Path) -> Path:
    """The user's files, with a model whose pass does not end."""
    with (files / "model.py").open("a") as source:
        source.write(ASLEEP)
    return files


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("service") / "data", port=0)) as running:
        yield running


@contextmanager
def _started(command: tuple[str, ...], folder: Path, until: str | tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """A command, from the moment on that a line of its standard error begins with a word, or one of some."""
    scratch = folder / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What was started to ignore Ctrl-C goes on ignoring it, and the tests themselves may be run like that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    with process:
        try:
            assert any(line.startswith(until) for line in process.stderr)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_leaves_nothing(asleep: Path, number: signal.Signals) -> None:
    before = {path.name for path in asleep.iterdir()}
    with _started((*PRUNE, "-o", "out.pt", "--json"), asleep, until="asleep") as process:
        process.send_signal(number)
        told, _ = process.communicate()
    assert (process.returncode, json.loads(told)["code"]) == (130, "interrupted")
    assert {path.name for path in asleep.iterdir()} - before <= {"scratch", "__pycache__"}
    assert [path.name for path in (asleep / "scratch").iterdir() if path.name.startswith("coppice-")] == []


def test_a_job_at_a_service_is_cancelled_with_its_command(asleep: Path, coppice: Coppice, service: Service) -> None:
    there = ("--server", service.url, "--insecure")
    with _started((*PRUNE, "-o", "out.pt", *there), asleep, until=("running", "start", "read", "trace")) as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    (job,) = json.loads(coppice("jobs", "list", "--json", *there).stdout)["jobs"]
    assert (process.returncode, job["state"]) == (130, "cancelled")
    assert f"cancelled job {job['txid']}" in told
    assert list((asleep / "scratch").iterdir()) == []
    assert not (asleep / "out.pt").exists()


DEAF = """
import time
def forward(self, x):
    while True:
        try:
            print("asleep", flush=True)
            time.sleep(3600)
        except KeyboardInterrupt:
            print("deaf", flush=True)
Small.forward = forward
"""


def test_a_second_signal_ends_what_does_not_hear_the_first(files: Path) -> None:
    with (files / "model.py").open("a") as source:
        source.write(DEAF)
    with _started((*PRUNE, "-o", "out.pt"), files, until="asleep") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any(line.startswith("deaf") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert not (files / "out.pt").exists()


def test_an_upload_that_goes_nowhere_is_stopped(files: Path) -> None:
    # More than the kernel holds for a listener that takes nothing.
    with (files / "weights.pth").open("ab") as weights:
        weights.write(bytes(64 * 1024 * 1024))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = ("--server", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with _started((*PRUNE, "-o", "out.pt", *there), files, until="upload") as process:
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "Nothing was written" in told
    assert not (files / "out.pt").exists()

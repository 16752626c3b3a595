"""How a job may end, what it may claim, and what its service makes of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coppice.errors import (
    BY_CODE,
    AccessError,
    ConstructorFailed,
    CoppiceError,
    InternalError,
    IsolationUnavailable,
    JobCrashed,
    OutOfMemory,
)
from coppice.records.report import Progress
from coppice.sandbox.conversation import PROGRESS_LINES

from .conftest import REQUEST, Lab, report

LEAVE = "(out / 'report.json').write_text({report!r})\n"
SEGFAULT = "import ctypes; ctypes.string_at(0)"


def leaving(*files: str) -> str:
    """A script that leaves these files and an honest report of them."""
    made = "".join(f"(out / {file!r}).write_text('contents of ' + {file!r})\n" for file in files)
    return made + LEAVE.format(report=report(*files).model_dump_json())


def test_a_result_arrives_with_its_files(any_lab: Lab) -> None:
    folder = any_lab.folder()
    arrived = any_lab.run(leaving("model.h5", "bundle.zip"), folder=folder)
    assert arrived == report("model.h5", "bundle.zip")
    contents = {path.name: path.read_text() for path in (folder / "out").iterdir()}
    assert contents == {name: f"contents of {name}" for name in ("model.h5", "bundle.zip")}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (folder / "out").iterdir())


def test_what_the_report_does_not_name_stays_behind(any_lab: Lab) -> None:
    folder = any_lab.folder()
    any_lab.run("(out / 'stray').write_text('x')\n" + leaving("model.h5"), folder=folder)
    assert [path.name for path in (folder / "out").iterdir()] == ["model.h5"]


def test_a_report_of_another_request_is_corrected(lab: Lab) -> None:
    forged = report().model_copy(update={"request": REQUEST.model_copy(update={"percent": 0.1})})
    assert lab.run(LEAVE.format(report=forged.model_dump_json())).request == REQUEST


def test_progress_arrives_in_order(any_lab: Lab) -> None:
    steps = [
        Progress(step="read", fraction=0.1),
        Progress(step="score", fraction=0.5, detail='a "layer"\n'),
        Progress(step="write", fraction=1),
    ]
    seen: list[Progress] = []
    body = "".join(f"print({step.model_dump_json()!r}, flush=True)\n" for step in steps)
    any_lab.run(body + leaving(), on_progress=seen.append)
    assert seen == steps


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os._exit(0)", r"without a valid result: report\.json"),
        ("os._exit(3)", "status 3"),
        (SEGFAULT, "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("attempt(lambda: os.kill(-1, 9)); os.kill(os.getpid(), 9)", "SIGKILL"),
        ("os._exit(255)", "status 255"),
        ("raise ValueError('at ' + str(box) + '/in/model')", r"(?m)ValueError: at in/model$"),
        ("sys.stderr.write('\\x1b[31m\\0red\\n'); os._exit(1)", r"(?m)words:\n\[31mred$"),
    ],
    ids=["exit 0", "exit 3", "segfault", "abort", "kill all", "exit 255", "traceback", "control characters"],
)
def test_a_crash_is_named(lab: Lab, body: str, message: str) -> None:
    with pytest.raises(JobCrashed, match=message):
        lab.run(body)


def test_of_standard_error_the_end_is_kept(lab: Lab) -> None:
    with pytest.raises(JobCrashed, match="the very last line") as crash:
        lab.run("sys.stderr.write('x' * 10_000_000 + '\\nthe very last line'); os._exit(1)")
    assert len(crash.value.message) < 4000


def failing(failure: dict[str, Any] | str, status: int) -> str:
    text = failure if isinstance(failure, str) else json.dumps(failure)
    return f"(out / 'failure.json').write_text({text!r}); os._exit({status})"


@pytest.mark.parametrize("kind", [OutOfMemory, ConstructorFailed, InternalError])
def test_an_error_of_the_pipeline_arrives_as_itself(any_lab: Lab, kind: type[CoppiceError]) -> None:
    with pytest.raises(kind) as error:
        any_lab.run(failing({"code": kind.code, "message": "what, where", "field": "conv1"}, kind.exit_code))
    assert type(error.value) is kind
    assert (error.value.message, error.value.field) == ("what, where", "conv1")


@pytest.mark.parametrize(
    "script",
    [
        failing({"code": "refused", "message": "x"}, 6),
        failing({"code": "no_such_code", "message": "x"}, 5),
        failing({"code": "refused", "message": "x", "more": 1}, 5),
        failing({"code": "refused", "message": "x" * 8001}, 5),
        failing("{" * 100_000, 5),
        failing("", 5),
        "(out / 'failure.json').symlink_to('/usr/bin/env'); os._exit(5)",
        "os.mkfifo(out / 'failure.json'); os._exit(5)",
        *(
            failing({"code": kind.code, "message": "x"}, kind.exit_code)
            for kind in BY_CODE.values()
            if issubclass(kind, AccessError | IsolationUnavailable)
        ),
    ],
)
def test_a_failure_that_no_pipeline_writes_is_a_crash(lab: Lab, script: str) -> None:
    with pytest.raises(JobCrashed, match="gave no valid reason"):
        lab.run(script)


@pytest.mark.parametrize(
    "line",
    [
        "'not JSON'",
        "'[]'",
        '\'{"step": "read", "fraction": 2}\'',
        '\'{"step": "read", "fraction": NaN}\'',
        "'{\"step\": \"' + 'x' * 65 + '\", \"fraction\": 0}'",
        '\'{"step": "read", "fraction": 0, "done": true}\'',
        "'x' * 10_000_000",
        "'[' * 16_000",
        "'\\0'",
    ],
)
def test_nonsense_on_the_channel_ends_the_job(any_lab: Lab, line: str) -> None:
    with pytest.raises(JobCrashed, match="other than progress"):
        any_lab.run(f"import time; print({line}, flush=True); time.sleep(60)")


def test_progress_without_end_ends_the_job(lab: Lab) -> None:
    seen: list[Progress] = []
    with pytest.raises(JobCrashed, match="other than progress"):
        lab.run('while True: print(\'{"step": "read", "fraction": 0}\')', on_progress=seen.append)
    assert len(seen) == PROGRESS_LINES


def test_a_job_may_close_its_channel(lab: Lab) -> None:
    assert lab.run("os.close(1); os.close(2)\n" + leaving()) == report()


@pytest.mark.parametrize("prologue", ["", "print('hello')\n", "raise SystemExit('no torch here')\n"])
def test_a_process_that_never_gets_ready_is_our_own_fault(any_lab: Lab, prologue: str) -> None:
    with pytest.raises(InternalError, match="did not start"):
        any_lab.run("", prologue=prologue)

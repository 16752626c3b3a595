"""Run one of the `clean_*.py` scripts in a process of its own: nothing of ours is loaded there, and time is bounded.

A script waits on standard input for the path of its job, a JSON file, and of the verdict that it is to leave. What it
loads is the user's, so it may print, hang or crash; each comes back as a CleanProcessFailed with a reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from coppice.formats.clean_fork import Fork

#: What a crashed script said last is worth showing, all it said is not.
MAX_SAID = 2000

_HERE = Path(__file__).parent


class CleanProcessFailed(Exception):
    """The script gave no verdict; the message is the reason."""


class _Process(Protocol):
    """A fresh Python, or a fork."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """The pipe to its standard input."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, or minus the signal; raises subprocess.TimeoutExpired after so many seconds."""

    def kill(self) -> None:
        """End it."""


#: A fork that waits, for whoever needs torch first.
_ahead: list[tuple[Fork, IO[bytes]]] = []


def fork_ahead() -> None:
    """Fork, for the next `run_clean` that needs torch; call it when torch has been imported, and nothing run yet.

    Importing torch once more would take longer than most jobs. The fork ends with this process if nobody asks.
    """
    said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process that writes to it
    _ahead.append((Fork(said), said))


def run_clean(
    script: str,
    job: dict[str, Any],
    folder: Path,
    *,
    seconds: float,
    python: Path | None = None,
    with_torch: bool = False,
) -> Any:
    """The verdict of `script` on `job`; its files go into `folder`.

    `python` is that of another environment; a script `with_torch` takes the fork that waits, if there is one.
    """
    job_file, verdict_file = folder / "job.json", folder / "verdict.json"
    verdict_file.unlink(missing_ok=True)  # of another script
    job_file.write_text(json.dumps(job))
    told = [json.dumps([str(job_file), str(verdict_file)])]
    process: _Process
    if with_torch and _ahead:
        process, said = _ahead.pop()
        told.insert(0, str(_HERE / script))
    else:
        process, said = _started(_HERE / script, python)
    with said:
        try:
            status = _ended(process, "\n".join(told), seconds)
        except subprocess.TimeoutExpired as e:
            raise CleanProcessFailed(f"it took longer than {seconds:g} s") from e
        if status != 0 or not verdict_file.exists():
            raise CleanProcessFailed(f"it ended with status {status}: {_last_words(said)}")
    return json.loads(verdict_file.read_text())


def _ended(process: _Process, told: str, seconds: float) -> int:
    """Tell a process what to do, and wait for its end: its status."""
    assert process.stdin is not None  # noqa: S101  a pipe
    try:
        with suppress(BrokenPipeError), process.stdin as asked:  # it has crashed; its status tells
            asked.write(told.encode())
        return process.wait(seconds)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _started(script: Path, python: Path | None) -> tuple[_Process, IO[bytes]]:
    said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process that writes to it
    # -I: neither the folder of the script nor the environment's paths; the script itself refuses coppice.
    command = [str(python or sys.executable), "-I", str(script)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said), said  # noqa: S603  our own script


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, 2) - MAX_SAID))
    return said.read().decode(errors="replace").strip()

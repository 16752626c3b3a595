"""Run one of the `clean_*.py` scripts in a Python of its own: no code of ours is importable there, and time is bounded.

A script waits on standard input for the path of its job, a JSON file, and of the verdict that it is to leave. What it
loads is the user's, so it may print, hang or crash; each comes back as a CleanProcessFailed with a reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

#: What a crashed script said last is worth showing, all it said is not.
MAX_SAID = 2000

_HERE = Path(__file__).parent


class CleanProcessFailed(Exception):
    """The script gave no verdict; the message is the reason."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    process: subprocess.Popen[bytes]
    said: IO[bytes]


#: Processes started ahead, by script: importing torch takes longer than most jobs. Taken once, by whoever comes first.
_AHEAD: dict[str, _Waiting] = {}


def start_ahead(script: str) -> None:
    """Start a process for the next `run_clean` of this script; it ends with this process if nobody asks."""
    _AHEAD.setdefault(script, _start(script))


def run_clean(script: str, job: dict[str, Any], folder: Path, *, seconds: float, python: Path | None = None) -> Any:
    """The verdict of `script` on `job`; its files go into `folder`. `python` is that of another environment."""
    job_file, verdict_file = folder / "job.json", folder / "verdict.json"
    verdict_file.unlink(missing_ok=True)  # of another script
    job_file.write_text(json.dumps(job))
    waiting = _AHEAD.pop(script, None) or _start(script, python)
    with waiting.process as process, waiting.said as said:
        try:
            process.communicate(json.dumps([str(job_file), str(verdict_file)]).encode(), timeout=seconds)
        except subprocess.TimeoutExpired as e:
            process.kill()
            raise CleanProcessFailed(f"it took longer than {seconds:g} s") from e
        if process.returncode != 0 or not verdict_file.exists():
            raise CleanProcessFailed(f"it ended with status {process.returncode}: {_last_words(said)}")
    return json.loads(verdict_file.read_text())


def _start(script: str, python: Path | None = None) -> _Waiting:
    said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process that writes to it
    # -I: neither the folder of the script nor the environment's paths; the script itself refuses coppice.
    command = [str(python or sys.executable), "-I", str(_HERE / script)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)  # noqa: S603  our own script
    return _Waiting(process, said)


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, 2) - MAX_SAID))
    return said.read().decode(errors="replace").strip()

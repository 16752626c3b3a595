"""The engine's child on many uploads, one fork each: `python -m tests.hostile.engine FOLDER`, a job per folder in it.

The same code as in a sandbox (`coppice.child.main`), without the sandbox around it and without its start of seconds.
For files only: a class file's code would run as whoever runs the tests.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coppice import child
from coppice.formats import clean_process
from coppice.records.report import Failure
from coppice.records.request import Request
from coppice.settings import MIB

MEMORY_BYTES = 3072 * MIB
CPU_SECONDS = 30
#: Of one job, when the machine is busy: what hangs without computing is ended by it.
ALARM_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job ended: its exit status, or minus the signal; what it said; what it complained of."""

    status: int
    failure: Failure | None
    stderr: str


def run(jobs: Mapping[str, tuple[Request, Mapping[str, bytes]]], folder: Path) -> dict[str, Ended]:
    """Run a job for each request and its files by part, and tell how each ended."""
    for number, (request, files) in enumerate(jobs.values()):
        job = folder / f"{number:04}"
        for part, name in request.files.items():
            (job / "in" / part).mkdir(parents=True)
            (job / "in" / part / name).write_bytes(files[part])
        (job / "request.json").write_text(request.model_dump_json())
    subprocess.run(
        [sys.executable, "-m", __spec__.name, str(folder)], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
    return {name: _ended(folder / f"{number:04}") for number, name in enumerate(jobs)}


def _ended(job: Path) -> Ended:
    failure = job / "out" / "failure.json"
    return Ended(
        status=int((job / "status").read_text()),
        failure=Failure.model_validate_json(failure.read_bytes()) if failure.exists() else None,
        stderr=(job / "stderr").read_text("utf-8", "replace"),
    )


def _run_all(folder: Path, at_once: int) -> None:
    child._warm_up()
    for ahead, _said in clean_process._ahead:  # of one job; each here starts its own if it comes so far
        ahead.kill()
    clean_process._ahead.clear()
    waiting = sorted(folder.iterdir())
    running: dict[int, Path] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.pop(0)
            running[_forked(job)] = job
        pid, status = os.wait()
        if pid in running:  # and not a helper of the child's
            (running.pop(pid) / "status").write_text(str(os.waitstatus_to_exitcode(status)))


def _forked(job: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(ALARM_SECONDS)
        os.dup2(os.open(job / "stderr", os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdin = io.StringIO(f"{child.GO}\n")
        child._warm_up = lambda: None
        status = child.main(job)
        sys.stderr.flush()
        os._exit(status)
    finally:
        os._exit(70)


if __name__ == "__main__":
    _run_all(Path(sys.argv[1]), at_once=2)

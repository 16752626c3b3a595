"""A process that watches itself, as a real process: what ends it, and what does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.errors import DatabaseUnavailable, InternalError
from tests.jobs.job_processes import DEADLINE_SECONDS, ROOT, lines, until

pytestmark = pytest.mark.slow

WATCHED = """
import asyncio, pathlib, sys, time
from coppice.jobs import watch
watch._HUNG_SECONDS = 2.0
silent_since, log = time.monotonic(), pathlib.Path(sys.argv[2])

async def main():
    watch.watch(
        asyncio.get_running_loop(),
        silence=lambda: time.monotonic() - silent_since if sys.argv[1] == "silent" else 0.0,
        longest=1.0,
        before_end=lambda: log.write_text("told"),
    )
    if sys.argv[1] == "hung":
        time.sleep(600)
    while True:
        with log.open("a") as file:
            file.write("turned\\n")
        await asyncio.sleep(0.2)

asyncio.run(main())
"""


def watched(how: str, log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WATCHED, how, str(log)], cwd=ROOT, stderr=subprocess.DEVNULL)


def test_a_process_that_is_silent_too_long_says_so_and_ends(tmp_path: Path) -> None:
    process = watched("silent", tmp_path / "log")
    assert process.wait(DEADLINE_SECONDS) == DatabaseUnavailable.exit_code
    assert (tmp_path / "log").read_text() == "told"


def test_a_process_whose_loop_hangs_ends(tmp_path: Path) -> None:
    assert watched("hung", tmp_path / "log").wait(DEADLINE_SECONDS) == InternalError.exit_code


def test_a_process_that_was_stopped_as_a_whole_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = watched("well", log)
    try:
        until(lambda: lines(log), "the first turn of the loop")
        os.kill(process.pid, signal.SIGSTOP)
        # Longer than the loop may take to answer, by the clock that the watch must not look at.
        stopped = len(lines(log))
        subprocess.run(["sleep", "3"], check=True)
        os.kill(process.pid, signal.SIGCONT)
        until(lambda: len(lines(log)) > stopped + 5, "the loop's turns")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()

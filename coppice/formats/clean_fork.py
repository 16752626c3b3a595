"""A fork of this process that waits to be told a script, and goes on as that script."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from typing import IO

#: Between two looks at whether it has ended, seconds.
_POLL_SECONDS = 0.01


class Fork:
    """As much of a subprocess.Popen as `clean_process` needs.

    The first line on its standard input is the path of the script, the rest is for the script.
    """

    def __init__(self, said: IO[bytes]) -> None:
        """Fork now; `said` takes what it prints."""
        out, into = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        self._status: int | None = None
        if self._pid == 0:
            _become_another(out, said.fileno())
        os.close(out)
        self.stdin: IO[bytes] | None = os.fdopen(into, "wb")

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, or minus the signal; raises subprocess.TimeoutExpired after so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
            elif deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
            else:
                time.sleep(_POLL_SECONDS)
        return self._status

    def kill(self) -> None:
        """End it."""
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)


def _become_another(asked: int, said: int) -> None:
    """Let go of everything that belongs to the process that forked, and be the script that is named; never returns."""
    status = 1
    try:
        os.dup2(asked, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        # Among them the pipes whose end tells others that a process has ended.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "coppice"]:
            del sys.modules[name]
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  descriptors
            for number, mode in enumerate(("r", "w", "w"))
        )
        script = sys.stdin.readline().strip()
        if script:
            sys.argv = [script]
            runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
        if isinstance(e.code, str):
            sys.stderr.write(f"{e.code}\n")
    except BaseException:  # noqa: BLE001  as Python itself would end
        sys.stdout.flush()
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

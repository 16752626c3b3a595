"""Keeping programs running: started again when they end, ended when the one who keeps them ends.

Here: one parent, one thread, no loop that is ever busy. Not here: which programs (`jobs.supervisor`). Linux only.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coppice.errors import BY_CODE, DatabaseUnavailable, InternalError, ServiceUnavailable, StorageUnavailable

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)

_STOP = {signal.SIGTERM, signal.SIGINT}
_AWAITED = {*_STOP, signal.SIGCHLD}

#: With one of these a program says that it can't run as it is set up here, and why; to start it again wouldn't help.
#: A database or a store that is away comes back.
_REFUSALS = {error.exit_code for error in BY_CODE.values()} - {
    error.exit_code for error in (InternalError, DatabaseUnavailable, StorageUnavailable)
}

#: A program that ran this long, seconds, is started again at once; one that didn't waits, twice as long each time.
_STEADY_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
#: What a program gets to end by itself after SIGTERM, seconds: more than any of ours takes to end its calls, or to kill
#: its job and tell the database.
_GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Something to keep running."""

    name: str
    command: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    before_start: Callable[[], None] = lambda: None


def keep_running(programs: Sequence[Program], environment: Mapping[str, str], *, drain_seconds: float = 0) -> None:
    """Keep the programs running until SIGTERM or SIGINT, then end them all.

    They may take `drain_seconds` to end their work; the signal a second time is passed on, to say that they may not.
    Raises ServiceUnavailable when one ends with an exit code of `errors` that is not our own fault: it refuses.
    Call it from the main thread, while there is no other: its children end with it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    children = [_Child(program, environment) for program in programs]
    try:
        while True:
            pause = min(child.start_if_due() for child in children)
            got = signal.sigtimedwait(_AWAITED, pause)
            if got is not None and got.si_signo in _STOP:
                return
            for child in children:
                child.look()
    finally:
        _end(children, drain_seconds)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Child:
    """A program and the process that runs it now, if one does."""

    def __init__(self, program: Program, environment: Mapping[str, str]) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment
        self._started = 0.0
        self._pause = 0.0
        self._due = 0.0

    def start_if_due(self) -> float:
        """Start the program if it is not running and its pause is over; seconds until there is something to do."""
        if self.process is not None:
            return 3600.0  # SIGCHLD will say
        wait = self._due - time.monotonic()
        if wait > 0:
            return wait
        self.program.before_start()
        self._started = time.monotonic()
        parent = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603  # our own command line
            self.program.command,
            env=self._environment,
            pass_fds=self.program.pass_fds,
            # A terminal's Ctrl-C is for the parent alone, which then ends its children in order.
            process_group=0,
            preexec_fn=lambda: _die_with(parent),  # there is one thread
        )
        return 3600.0

    def look(self) -> None:
        """Note the end of the process, if it has come, and when the next one is due."""
        if self.process is None or (code := self.process.poll()) is None:
            return
        self.process = None
        if code in _REFUSALS:
            raise ServiceUnavailable(f"The {self.program.name} can't run here; it says why above.")
        if time.monotonic() - self._started >= _STEADY_SECONDS:
            self._pause = 0.0
        else:
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        self._due = time.monotonic() + self._pause
        end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        _log.warning("%s %s; it starts again in %.1f s", self.program.name, end, self._pause)


def _die_with(parent: int) -> None:
    """In a new child: have the kernel kill it when its parent dies, and let it hear signals again."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        os._exit(1)  # the parent died before the kernel was asked
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)


def _end(children: Sequence[_Child], drain_seconds: float) -> None:
    """End the processes, with every signal that stops blocked as it is in `keep_running`."""
    processes = [child.process for child in children if child.process is not None]
    deadline = time.monotonic() + drain_seconds + _GRACE_SECONDS
    _terminate(processes)
    while any(process.poll() is None for process in processes):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        got = signal.sigtimedwait(_AWAITED, left)
        if got is not None and got.si_signo in _STOP:
            _log.warning("told to stop a second time: at once")
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
            _terminate(processes)
    for process in processes:
        process.kill()  # of one that has ended this does nothing
        process.wait()


def _terminate(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()

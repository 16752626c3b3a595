"""One process of a sandbox: how it is started, spoken to, waited for and killed.

Not here: what the words on its pipes mean (`conversation`).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Final, Protocol

from coppice.sandbox import starter
from coppice.sandbox.cgroups import Group

#: Everything that a job finds in its environment.
JOB_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "TMPDIR": "/tmp",  # noqa: S108
    "LANG": "C.UTF-8",
    # There is no /etc/passwd to look the name up in.
    "USER": "job",
    "LOGNAME": "job",
    # One thread unless coppice.child is told otherwise: OpenMP's spinning costs more than it wins on shared cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The user's code may go through a set of names: in the same order every time, for the same result.
    "PYTHONHASHSEED": "0",
    # "No plugins": an HDF5 file can name a filter that libhdf5 would load from a folder.
    "HDF5_PLUGIN_PRELOAD": "::",
}


def job_environment(litert: Path | None) -> dict[str, str]:
    """The same, with where TensorFlow and LiteRT are, which a job may start."""
    return {**JOB_ENVIRONMENT, **({} if litert is None else {"COPPICE_LITERT": str(litert)})}


#: What comes before every command.
_STARTER: Final = (sys.executable, "-I", "-S", "-B", starter.__file__)

#: An exit status above it stands for the signal that many below.
SHELL_SIGNAL: Final = 128


class Hold(Protocol):
    """A hold on everything in a sandbox, for killing it; its end is that of the last process in there."""

    def kill(self) -> None:
        """Kill everything, soon."""

    def close(self) -> None:
        """Kill, wait until nothing is left, and let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command ready to start."""

    #: Stand in a command for the descriptors that it reads `given` from, that bubblewrap writes its child's pid to,
    #: and whose closing ends everything.
    GIVEN: ClassVar[str] = "{given}"
    INFO: ClassVar[str] = "{info}"
    LEASH: ClassVar[str] = "{leash}"

    command: tuple[str, ...]
    environment: Mapping[str, str]
    #: A system-call filter or a keeper's plan.
    given: bytes | None = None
    group: Group | None = None

    def start(self) -> Process:
        """Start it. Call from a thread that lives as long as the process may: its end would kill the process."""
        kept = self.LEASH in self.command
        joined = () if self.group is None else self.group.files
        command = (*_STARTER, "-" if kept else self.LEASH, *joined, "--", *self.command)
        try:
            return self._start(command, kept=kept)
        except BaseException:
            if self.group is not None:
                self.group.remove()
            raise

    def _start(self, command: Sequence[str], *, kept: bool) -> Process:
        with ExitStack() as ours, ExitStack() as failed:
            theirs: dict[str, int] = {}
            if self.given is not None:
                # Not a pipe: how much one holds is for the system to say, and nobody reads yet.
                theirs[self.GIVEN] = os.memfd_create("given")
                ours.callback(os.close, theirs[self.GIVEN])
                os.write(theirs[self.GIVEN], self.given)
                os.lseek(theirs[self.GIVEN], 0, os.SEEK_SET)
            theirs[self.LEASH], leash = os.pipe()
            ours.callback(os.close, theirs[self.LEASH])
            failed.callback(os.close, leash)
            if self.INFO in command:
                info, theirs[self.INFO] = os.pipe()
                failed.callback(os.close, info)
                ours.callback(os.close, theirs[self.INFO])
            descriptors = {word: str(number) for word, number in theirs.items()}
            popen = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                [descriptors.get(part, part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self.environment,
                pass_fds=tuple(theirs.values()),
                start_new_session=True,
                cwd="/",
            )
            failed.pop_all()
        held = _Leash(leash)
        if self.INFO not in command:
            return Process(popen, hold=held if kept else None, leash=held, group=self.group)
        with os.fdopen(info, "rb", buffering=0) as said:
            return Process(popen, hold=_inside(said), leash=held, group=self.group)


def _inside(info: IO[bytes]) -> Hold | None:
    """A hold on the first process of a sandbox; None when bubblewrap ended before it had one."""
    said = b""
    while not said.rstrip().endswith(b"}"):
        more = info.read(4096)
        if not more:
            return None
        said += more
    with contextlib.suppress(ProcessLookupError):
        return _Inside(os.pidfd_open(json.loads(said)["child-pid"]))
    return None


class _Inside:
    """The init process of a process namespace: with it everything in there ends.

    bubblewrap itself ends as soon as the job's main process does, a moment before the rest of the sandbox is dead.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def kill(self) -> None:
        # The bubblewraps outside then end by themselves, one after the other, and leave no orphan.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        ended = select.poll()
        ended.register(self._handle, select.POLLIN)
        ended.poll()
        os.close(self._handle)


class _Leash:
    """The end of a pipe whose closing tells a starter or a keeper to kill everything; a keeper ends last."""

    def __init__(self, end: int) -> None:
        self._end: int | None = end

    def kill(self) -> None:
        if self._end is not None:
            os.close(self._end)
            self._end = None

    close = kill


class Process:
    """A running process with everything that it started.

    `exit` waits until nothing is left that could still change a file.
    """

    def __init__(
        self, popen: subprocess.Popen[bytes], *, hold: Hold | None, leash: Hold, group: Group | None = None
    ) -> None:
        self._popen = popen
        self._hold = hold
        self._leash = leash
        self._group = group
        self._lock = threading.Lock()
        self._reaped = False
        #: The exit status, or minus the signal. Resolved by a thread of its own, so that waiting for it needs
        #: neither an event loop nor a signal handler.
        self.exit: Future[int] = Future()
        #: How many of its processes the kernel killed for passing the memory limit of its control group; known once it
        #: has ended, None where it has no group.
        self.memory_kills: int | None = None
        threading.Thread(target=self._reap, name=f"reap-{popen.pid}", daemon=True).start()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to its standard input."""
        return _open(self._popen.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from its standard output."""
        return _open(self._popen.stdout)

    @property
    def stderr(self) -> IO[bytes]:
        """The pipe from its standard error."""
        return _open(self._popen.stderr)

    def kill(self) -> None:
        """Kill everything; `exit` is resolved when it is dead."""
        with self._lock:
            if self._reaped:
                return
            if self._hold is None:
                self._kill_session()
            else:
                self._hold.kill()

    def close(self) -> None:
        """Kill what still runs, wait for its end and close the pipes."""
        self.kill()
        self.exit.result()
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()

    def _reap(self) -> None:
        # A process that ended keeps its number until it is reaped: what it left behind is killed before.
        os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._kill_session()
            if self._hold is not None:
                self._hold.close()
            self._leash.close()
            status = self._popen.wait()
            self._reaped = True
        if self._group is not None:
            self.memory_kills = self._group.memory_kills()
            self._group.remove()
        # A shell's way to tell of a signal is bubblewrap's too.
        self.exit.set_result(SHELL_SIGNAL - status if status > SHELL_SIGNAL else status)

    def _kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, for a zombie
            os.killpg(self._popen.pid, signal.SIGKILL)


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - all three are pipes
    return pipe

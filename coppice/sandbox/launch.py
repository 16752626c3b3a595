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
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Final

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


#: An exit status above it stands for the signal that many below.
SHELL_SIGNAL: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command ready to start."""

    #: Stand in a command for the descriptors that bubblewrap reads the filter from and writes its child's pid to.
    FILTER: ClassVar[str] = "{filter}"
    INFO: ClassVar[str] = "{info}"

    command: tuple[str, ...]
    environment: Mapping[str, str]
    filter: bytes | None

    def start(self) -> Process:
        """Start it. Call from a thread that lives as long as the process may: its end would kill the process."""
        if self.filter is None:
            return Process(self._popen(self.command, descriptors=()), inside=None)
        filter_out, filter_in = os.pipe()
        info_out, info_in = os.pipe()
        with os.fdopen(info_out, "rb", buffering=0) as info:
            try:
                with os.fdopen(filter_in, "wb") as pipe:
                    pipe.write(self.filter)  # a pipe holds 64 KiB, a filter takes two
                numbers = {self.FILTER: str(filter_out), self.INFO: str(info_in)}
                command = tuple(numbers.get(part, part) for part in self.command)
                popen = self._popen(command, descriptors=(filter_out, info_in))
            finally:
                os.close(filter_out)
                os.close(info_in)
            return Process(popen, inside=_inside(info))

    def _popen(self, command: tuple[str, ...], *, descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own command line, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=self.environment,
            pass_fds=descriptors,
            start_new_session=True,
            cwd="/",
        )


def _inside(info: IO[bytes]) -> int | None:
    """A handle on the first process of the sandbox; None when bubblewrap ended before it had one."""
    said = b""
    while not said.rstrip().endswith(b"}"):
        more = info.read(4096)
        if not more:
            return None
        said += more
    with contextlib.suppress(ProcessLookupError):
        return os.pidfd_open(json.loads(said)["child-pid"])
    return None


class Process:
    """A running process with everything that it started.

    `inside` is a handle on the init process of a sandbox. bubblewrap ends as soon as the job's main process does,
    a moment before the rest of the sandbox is dead. Only the end of its init process means that nothing is left
    that could still change a file, so that is what `exit` waits for.
    """

    def __init__(self, popen: subprocess.Popen[bytes], *, inside: int | None) -> None:
        self._popen = popen
        self._inside = inside
        self._lock = threading.Lock()
        self._reaped = False
        #: The exit status, or minus the signal. Resolved by a thread of its own, so that waiting for it needs
        #: neither an event loop nor a signal handler.
        self.exit: Future[int] = Future()
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
            if self._inside is None:
                self._kill_group()
            else:
                # The bubblewraps outside then end by themselves, one after the other, and leave no orphan.
                _kill_inside(self._inside)

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
            self._kill_group()
            if self._inside is not None:
                _kill_inside(self._inside)
                ended = select.poll()
                ended.register(self._inside, select.POLLIN)
                ended.poll()
                os.close(self._inside)
            status = self._popen.wait()
            self._reaped = True
        # A shell's way to tell of a signal is bubblewrap's too.
        self.exit.set_result(SHELL_SIGNAL - status if status > SHELL_SIGNAL else status)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, for a zombie
            os.killpg(self._popen.pid, signal.SIGKILL)


def _kill_inside(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - all three are pipes
    return pipe

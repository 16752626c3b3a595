"""A server of a test's own: started, killed as by a power cut, started again on the same port and the same data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

#: Long, because the cores may be shared by many; nothing waits this long unless its test is about to fail.
DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.05


@dataclass(kw_only=True)
class Daemon:
    """A program that serves until it is told to stop, or is killed."""

    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Told of the exit code of a start that failed; it may skip the test.
    refusal: Callable[[int], None] = lambda code: None
    #: What tells it to end in order.
    polite: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, if it does not run."""
        if self.process is not None and self.process.poll() is None:
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def start(self) -> None:
        """Start it, and wait until it serves; what an earlier one left behind may refuse the first tries."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            self.launch()
            if self.ready():
                return
            time.sleep(_POLL_SECONDS)
            if self.process is not None and (code := self.process.poll()) is not None:
                self.refusal(code)
        raise AssertionError(f"{self.command[0]} did not start: {self.log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """End it and everything under it at once."""
        if self.process is None:
            return
        family = [self.process.pid, *descendants(self.process.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(DEADLINE_SECONDS)

    def stop(self) -> None:
        """End it in order."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.polite)
        try:
            self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


def descendants(pid: int) -> list[int]:
    """The processes under a process, the nearest first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found + [below for child in found for below in descendants(child)]


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on just now."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


def missing(what: str) -> None:
    """Skip the test for want of something; in continuous integration that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not on this machine")
    pytest.skip(f"{what} is not on this machine")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that a test may take away and bring back, and its address."""

    url: str
    daemon: Daemon

    def start(self) -> None:
        """Start it again after `kill` or `stop`: the same port, the same data."""
        self.daemon.start()

    def kill(self) -> None:
        """End every process of it at once."""
        self.daemon.kill()

    def stop(self) -> None:
        """End it in order."""
        self.daemon.stop()

"""A real `coppice serve` with the real sandbox on a free port of this machine, and a client that waits for its jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from coppice.errors import IsolationUnavailable
from coppice.settings import Settings

COMMAND = Path(sys.executable).with_name("coppice")

#: Nothing waits this long unless its test is about to fail: the cores may be shared by many.
DEADLINE_SECONDS = 540.0
POLL_SECONDS = 0.2

DONE, FAILED = 0, -1

#: Part -> name of the file and its bytes.
Files = Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service."""

    url: str
    settings: Settings
    log: Path
    process: subprocess.Popen[str]
    client: httpx.Client
    #: What it printed while it started.
    said: str = ""

    def post(self, call: str, query: Mapping[str, str], files: Files) -> httpx.Response:
        """Send a pruning call."""
        return self.client.post(f"/api/{call}", params=query, files=dict(files))

    def status(self, txid: str) -> dict[str, Any]:
        """What the service says of a job."""
        answer: dict[str, Any] = self.client.get("/api/status/", params={"txid": txid}).json()
        return answer

    def end(self, txid: str) -> dict[str, Any]:
        """The status of a job once it has ended."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            answer = self.status(txid)
            if answer["status"] <= DONE:
                return answer
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"waited {DEADLINE_SECONDS:.0f} s for the end of {txid}, which is {answer}")

    @property
    def pid(self) -> int:
        """The supervisor's process: the one that was started, or the only child of what makes it another user's."""
        return _supervisor(self.process.pid)

    @property
    def token(self) -> str:
        """What every process of this service and of its jobs has in its command line or among its mounts."""
        return str(self.settings.data_dir)


@contextmanager
def serving(
    settings: Settings, *, before: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Run the service until the end of the block; its log is `serve.log` beside its data folder.

    `before` is a command that runs it, such as one that makes it another user's; `environment` is added to ours.
    """
    log = settings.data_dir.with_name("serve.log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*before, str(COMMAND), "serve"],
            env={**os.environ, **settings.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            process_group=0,
        )
    assert process.stdout is not None
    try:
        said = list[str]()
        url = next((line.split()[3] for line in _kept(process.stdout, said) if "listens on" in line), None)
        if url is None:
            _could_not_start(process, log)
        # Its certificate is its own; a kept connection could be closed just as it is used.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=str(url), verify=False, timeout=60, limits=limits) as client:
            yield Service(url=str(url), settings=settings, log=log, process=process, client=client, said="".join(said))
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(_supervisor(process.pid), signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.stdout.close()


def _kept(lines: Iterable[str], kept: list[str]) -> Iterator[str]:
    for line in lines:
        kept.append(line)
        yield line


def _supervisor(pid: int) -> int:
    """bubblewrap stays as the parent of what it runs, and passes no signal on."""
    if Path(f"/proc/{pid}/comm").read_text() != "bwrap\n":
        return pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _could_not_start(process: subprocess.Popen[str], log: Path) -> None:
    code = process.wait(60)
    if code == IsolationUnavailable.exit_code and os.environ.get("CI") != "true":
        pytest.skip(f"no sandbox here: {log.read_text()[-500:]}")
    raise AssertionError(f"coppice serve ended with {code}: {log.read_text()[-3000:]}")


def processes(token: str) -> set[int]:
    """The processes of this machine that carry a word in their command line or see it among their mounts.

    A job's process sees its box among its mounts, whatever it made of itself.
    """
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "mountinfo").read_bytes()
            except OSError:  # ended meanwhile
                continue
            if token.encode() in told:
                found.add(int(entry.name))
    return found


def kill(pid: int) -> None:
    """End a process at once, as a power cut would."""
    os.kill(pid, signal.SIGKILL)

"""Talking with one job until it ends: `go`, progress lines, time, disk. The outcome is facts, not yet a verdict.

What the job says is hostile input: a line is bounded, parsed as a record and passed on; anything else ends the job.
Standard error is kept for its last lines only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import IO

from coppice.records.report import Progress
from coppice.sandbox.launch import Process
from coppice.sandbox.limits import Limits

#: A progress record in JSON with every character escaped stays below it.
LINE_BYTES = 16 * 1024

#: The pipeline reports a few hundred steps at most; a job can't make its worker write to the database for ever.
PROGRESS_LINES = 10_000

STDERR_BYTES = 64 * 1024

#: Importing torch takes 1.5 s on an idle machine, and was seen to take 10 s on a busy one.
START_SECONDS = 120

#: How long the last words of a dead process may take to arrive.
DRAIN_SECONDS = 2

DISK_CHECK_SECONDS = 0.5

#: More files, or folders deeper than that, come from no pipeline of ours.
DISK_ENTRIES = 10_000
DISK_DEPTH = 32

READY = {"ready": True}


class Stop(Enum):
    """Why the service, and not the job itself, ended the job."""

    TIME = auto()
    DISK = auto()
    NONSENSE = auto()  # something other than progress on its channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known about how a job ended, none of it in the job's own words but `stderr`."""

    status: int  # exit status, or minus the signal
    stopped: Stop | None
    seconds: float
    memory_kills: int  # processes that the kernel killed for want of memory meanwhile
    exact: bool  # whether those are the job's own, counted by its control group, or any of this machine's
    stderr: str


class NotReady(Exception):
    """The process ended, or said something else, before it was ready for a job."""


async def converse(process: Process, out: Path, limits: Limits, on_progress: Callable[[Progress], None]) -> Facts:
    """Give the word to start and follow the job to its end, which this brings about when a limit is passed."""
    async with _reading(process.stdout) as said, _reading(process.stderr) as complained:
        stderr = _LastWords(complained)
        try:
            await _ready(process, said, stderr)
            return await _follow(process, said, stderr, out, limits, on_progress)
        finally:
            process.kill()
            stderr.close()


async def _ready(process: Process, said: asyncio.StreamReader, stderr: _LastWords) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await said.readline()
        ready = json.loads(line) == READY
    except (TimeoutError, ValueError):
        ready = False
    if not ready:
        process.kill()
        status = await _ended(process)
        words = await stderr.text()
        raise NotReady(f"exit status {status}; {words[-2000:].strip() or 'nothing on standard error'}")


async def _follow(
    process: Process,
    said: asyncio.StreamReader,
    stderr: _LastWords,
    out: Path,
    limits: Limits,
    on_progress: Callable[[Progress], None],
) -> Facts:
    stops: list[Stop] = []

    def stop(why: Stop) -> None:
        stops.append(why)
        process.kill()

    started, kills = time.monotonic(), memory_kills()
    timer = asyncio.get_running_loop().call_later(limits.seconds, stop, Stop.TIME)
    watching = asyncio.create_task(_watch(out, limits.result_bytes, stop))
    listening = asyncio.create_task(_listen(process, said, on_progress, stop))
    try:
        # A process that is gone already can't be told; how it ended is seen below.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"go\n")
        status = await _ended(process)
        seconds = time.monotonic() - started
        await asyncio.wait({listening}, timeout=DRAIN_SECONDS)
        if listening.done():
            listening.result()
    finally:
        timer.cancel()
        watching.cancel()
        listening.cancel()
    own = process.memory_kills
    return Facts(
        status=status,
        stopped=stops[0] if stops else None,
        seconds=seconds,
        memory_kills=memory_kills() - kills if own is None else own,
        exact=own is not None,
        stderr=await stderr.text(),
    )


async def _listen(
    process: Process,
    said: asyncio.StreamReader,
    on_progress: Callable[[Progress], None],
    stop: Callable[[Stop], None],
) -> None:
    """Pass progress on; the first thing that is none, or one too many, ends the job."""
    try:
        for _ in range(PROGRESS_LINES):
            line = await said.readline()
            if not line:
                return
            on_progress(Progress.model_validate_json(line))
    except ValueError:  # not a record, or longer than a line may be
        pass
    except Exception:
        process.kill()
        raise
    stop(Stop.NONSENSE)


async def _watch(out: Path, limit: int, stop: Callable[[Stop], None]) -> None:
    """End the job when what it keeps in its folder passes the limit."""
    while not await asyncio.to_thread(over, out, limit):
        await asyncio.sleep(DISK_CHECK_SECONDS)
    stop(Stop.DISK)


def over(folder: Path, limit: int) -> bool:
    """Whether a folder, which its owner may be changing meanwhile, holds more bytes, files or levels than allowed."""
    size = entries = 0
    pending: list[tuple[Path, int]] = [(folder, 0)]
    while pending:
        here, depth = pending.pop()
        # What was deleted or replaced by something else in between no longer counts.
        with contextlib.suppress(OSError), os.scandir(here) as found:
            for entry in found:
                entries += 1
                size += entry.stat(follow_symlinks=False).st_size
                if size > limit or entries > DISK_ENTRIES or depth > DISK_DEPTH:
                    return True
                if entry.is_dir(follow_symlinks=False):
                    pending.append((here / entry.name, depth + 1))
    return False


def memory_kills() -> int:
    """How many processes the kernel of this machine has killed so far for want of memory."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            name, value = line.split()
            if name == "oom_kill":
                return int(value)
    return 0


async def _ended(process: Process) -> int:
    # Shielded: a waiter that is cancelled must not cancel the event that others wait for.
    return await asyncio.shield(asyncio.wrap_future(process.exit))


@asynccontextmanager
async def _reading(pipe: IO[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        yield reader
    finally:
        transport.close()


class _LastWords:
    """The end of what a process writes to standard error, read while it runs."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._kept = bytearray()
        self._task = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while more := await reader.read(LINE_BYTES):
            self._kept += more
            del self._kept[:-STDERR_BYTES]

    async def text(self) -> str:
        """All of it; called when the process is dead."""
        await asyncio.wait({self._task}, timeout=DRAIN_SECONDS)
        return self._kept.decode("utf-8", "replace")

    def close(self) -> None:
        self._task.cancel()

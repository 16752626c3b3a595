"""Real processes for the tests of jobs: workers whose jobs are small scripts, and what waits for them.

The uploaded file of such a job is a script that its worker runs in a child process: `FINISH`, `hold(...)` and the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from coppice.errors import JobCrashed, TimeLimit
from coppice.jobs.desk import Desk
from coppice.records.frameworks import Framework
from coppice.records.job import Job, JobState
from coppice.records.report import Artifact, Check, Cost, Progress, Report, Verification
from coppice.records.request import Part, Request
from coppice.records.terms import Terms
from coppice.settings import Settings
from coppice.storage import Storage, upload_key

T = TypeVar("T")

ROOT = Path(__file__).parents[2]

#: Long, because the cores may be shared by many; nothing waits this long unless its test is about to fail.
DEADLINE_SECONDS = 90.0

ENDED = {JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}

WORKER = """
import sys
from coppice.jobs.seats import Seat
from coppice.jobs.worker import run
from coppice.settings import load
from tests.jobs.job_processes import ScriptRunner
run(load(), lambda folder: ScriptRunner(), Seat.of(sys.argv[1:]))
"""

#: What `coppice serve` starts, with workers that run scripts, and with a process that does nothing for the HTTP one.
SERVICE = f"""
import os, sys
from coppice.jobs.processes import Program, keep_running
from coppice.jobs.supervisor import seats_of
from coppice.settings import load
idle = Program(name="idle", command=(sys.executable, "-c", "import time; time.sleep(3600)"))
workers = [
    Program(name=seat.executor, command=(sys.executable, "-c", {WORKER!r}, seat.queue, str(seat.slot), seat.executor))
    for seat in seats_of(load())
]
keep_running([idle, *workers], dict(os.environ), drain_seconds=load().drain_seconds)
"""

REQUEST = Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "net.h5"})

TERMS = Terms()

FINISH = "open('out/model.h5', 'w').write('pruned')"
CRASH = "raise SystemExit(3)"
FAULT = "print('not progress')"
KILL_WORKER = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"


def hold(log: Path, gate: Path) -> str:
    """A job that notes its start and the number of its process, then runs on until the gate is there."""
    return f"""
import os, pathlib, time
parent = os.getppid()
with open({str(log)!r}, "a") as log:
    log.write(f"{{os.getpid()}}\\n")
print('{{"step": "score", "fraction": 0.5}}', flush=True)
while not os.path.exists({str(gate)!r}):
    time.sleep(0.02)
    if os.getppid() != parent:
        raise SystemExit("the worker is gone")
{FINISH}
"""


class ScriptRunner:
    """Runs the uploaded script in a real process; what it prints is its progress."""

    async def run(self, folder: Path, on_progress: Callable[[Progress], None], *, seconds: int | None = None) -> Report:
        (folder / "out").mkdir()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-S", next((folder / "in" / "model").iterdir()), cwd=folder, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                async for line in child.stdout:
                    on_progress(Progress.model_validate_json(line))
                code = await child.wait()
        except TimeoutError as e:
            raise TimeLimit(f"the script ran longer than {seconds} s") from e
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        if code != 0:
            raise JobCrashed(f"the script ended with {code}", field="model")
        return REPORT

    def close(self) -> None:
        """Nothing waits and nothing runs on its own."""


REPORT = Report(
    coppice="0",
    request=REQUEST,
    verification=Verification(check=Check.NONE),
    before=Cost(parameters=2, bytes=8, macs=2),
    after=Cost(parameters=1, bytes=4, macs=1),
    summary="one layer",
    artifacts=(Artifact(name="model", file="model.h5"),),
)


def until(look: Callable[[], T | None], what: str) -> T:
    """The first true thing that `look` gives."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.02)
    raise AssertionError(f"waited {DEADLINE_SECONDS:.0f} s for {what}")


def send(settings: Settings, script: str, *, client: str = "ann", terms: Terms = TERMS) -> str:
    """Upload a script and submit it, as the HTTP side does."""
    txid = str(uuid4())

    async def upload() -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield script.encode()

        file = await Storage(settings).put(upload_key(txid, Part.MODEL, "net.h5"), chunks(), limit=10_000)
        Desk(settings).submit(txid=txid, client=client, request=REQUEST, uploads=[file], terms=terms)

    asyncio.run(upload())
    return txid


def end_of(desk: Desk, txid: str, *, client: str = "ann") -> Job:
    """The job, once it has ended."""

    def look() -> Job | None:
        job = desk.job(txid, client)
        return job if job.state in ENDED else None

    return until(look, f"the end of {txid}")


def bytes_of(settings: Settings, key: str) -> bytes:
    """What the store holds under a key."""

    async def read() -> bytes:
        download = await Storage(settings).get(key)
        return b"".join([chunk async for chunk in download.chunks])

    return asyncio.run(read())


def start(settings: Settings, code: str, *arguments: str) -> subprocess.Popen[str]:
    """A real Python process, in a group of its own so that a test can kill it with everything under it."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **settings.environment()},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, for as long as a test needs it."""
    try:
        yield process
    finally:
        stop(process, signal.SIGKILL)


def worker(
    settings: Settings, slot: int = 0, *, executor: str | None = None
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """A worker whose jobs are scripts."""
    return killed_at_the_end(start(settings, WORKER, "cpu", str(slot), executor or f"cpu-{slot}"))


def stop(process: subprocess.Popen[str], number: signal.Signals) -> int:
    """Send a signal, and wait for the end; the exit code."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    code = process.wait(DEADLINE_SECONDS)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return code


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended meanwhile
        return []


def lines(path: Path) -> list[str]:
    """The lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []

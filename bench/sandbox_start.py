"""How long a job waits for its sandbox: started for it, or taken from those that were started ahead.

python bench/sandbox_start.py [repetitions]
"""

from __future__ import annotations

import asyncio
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path

from coppice.errors import CoppiceError
from coppice.records.frameworks import Framework
from coppice.records.request import Request
from coppice.sandbox import describe
from coppice.sandbox.box import Box, Walls, open_box
from coppice.sandbox.limits import Limits
from coppice.sandbox.opening import child_command, open_runner, open_walls
from coppice.sandbox.runner import BoxRunner
from coppice.settings import load

#: A job that fails as soon as it has read its request: what is left is the way there and back.
NOTHING = Request(framework=Framework.KERAS, percent=0.5)


def main(repetitions: int) -> None:
    """Print the median and the range of every wait."""
    settings = load({})
    print(describe(settings))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        walls = open_walls(settings, folder).walls
        empty = ("/usr/bin/true",)
        python = (sys.executable, "-I", "-B", "-c", "print()")
        show("an empty sandbox, until it has ended", [_ended(walls, folder, empty) for _ in range(repetitions)])
        show("Python in a sandbox, until it has ended", [_ended(walls, folder, python) for _ in range(repetitions)])
        show("coppice.child, until it is ready (cold start)", [_ready(walls, folder) for _ in range(repetitions)])
        for warm, words in ((0, "cold"), (1, "warm")):
            show(f"a whole job that does nothing, {words}", asyncio.run(_jobs(folder, warm, repetitions)))
    print("limits:", Limits.of(settings))


def show(what: str, seconds: list[float]) -> None:
    """One line of the table."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{what:<50} {1000 * middle:8.0f} ms  ({1000 * low:.0f} to {1000 * high:.0f})")


def _ended(walls: Walls, folder: Path, command: tuple[str, ...]) -> float:
    started = time.perf_counter()
    box = open_box(walls, lambda _: command, folder)
    box.process.exit.result()
    passed = time.perf_counter() - started
    box.destroy()
    return passed


def _ready(walls: Walls, folder: Path) -> float:
    started = time.perf_counter()
    box: Box = open_box(walls, child_command, folder)
    box.process.stdout.readline()
    passed = time.perf_counter() - started
    box.destroy()
    return passed


async def _jobs(folder: Path, warm: int, repetitions: int) -> list[float]:
    passed = []
    for number in range(repetitions):
        runner = open_runner(load({}, warm=warm), folder / f"{warm}-{number}")
        job = folder / f"job-{warm}-{number}"
        job.mkdir()
        (job / "request.json").write_text(NOTHING.model_dump_json())
        if isinstance(runner, BoxRunner) and warm:
            await asyncio.to_thread(_until_ready, runner)
        started = time.perf_counter()
        try:
            await runner.run(job, lambda _: None)
        except CoppiceError as e:
            passed.append(time.perf_counter() - started)
            if number == 0:
                print(f"  ({e.code}: {e.message})")
        runner.close()
    return passed


def _until_ready(runner: BoxRunner) -> None:
    """Wait until the box that was started ahead has said so, and leave its word in the pipe."""
    runner._starter.submit(lambda: None).result()
    select.select([runner._ready[0].process.stdout], [], [])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

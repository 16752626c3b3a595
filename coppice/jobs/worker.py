"""A worker process: takes jobs from the queue one at a time until it is told to stop.

Started by `jobs.supervisor` as `python -m coppice.jobs.worker SLOT`. A slot is a worker's number; it is what remains
when the process is killed and another takes its place, with the jobs that were in its hands.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy.exc import OperationalError

from coppice.errors import CoppiceError
from coppice.jobs.attempt import Tools, attempt, hand_back
from coppice.jobs.database import open_database
from coppice.jobs.locks import hold
from coppice.jobs.queue import Queue, work
from coppice.jobs.sweep import sweep_expired
from coppice.sandbox import remove
from coppice.settings import Settings, load
from coppice.storage import Storage

if TYPE_CHECKING:
    from coppice.sandbox import Runner

_log = logging.getLogger(__name__)

#: Time between two sweeps of expired results, seconds; a tenth of the retention where that is less.
_SWEEP_SECONDS = 60.0
#: What a stopped worker waits for its job's processes to be killed, seconds.
_STOP_SECONDS = 8.0


def run(settings: Settings, open_runner: Callable[[Path], Runner], *, slot: int = 0) -> NoReturn:
    """Work until SIGTERM or SIGINT. `open_runner` gets the slot's own folder, empty, and gives what runs a job."""
    folder = settings.data_dir.absolute() / "work" / str(slot)
    # An orphan of the same slot would run the same jobs, so the slot is held for as long as the process lives.
    with hold(folder.with_suffix(".lock"), f"worker slot {slot}"):
        # What a killed worker left may hold a job's own folders, which can be deeper than `shutil.rmtree` goes.
        remove(folder)
        folder.mkdir()
        asyncio.run(_work(settings, open_runner, slot, folder))
    raise AssertionError("a worker ends in _work")


async def _work(settings: Settings, open_runner: Callable[[Path], Runner], slot: int, folder: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine, storage = open_database(settings), Storage(settings)
    queue = Queue(engine)
    tools = Tools(settings=settings, engine=engine, storage=storage, runner=open_runner(folder), folder=folder)
    hand = _Hand(tools)
    await work(engine, slot, hand.take)
    retention = timedelta(seconds=settings.retention_seconds)
    pause = min(_SWEEP_SECONDS, settings.retention_seconds / 10)
    while not stop.is_set():
        try:
            await sweep_expired(engine, queue, storage, retention)
        except (OSError, OperationalError):
            _log.warning("sweep put off", exc_info=True)
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            continue
    await hand.put_down()
    # The loop must not end: its end would cancel the queue's own task, which would note an end of the job in hand.
    os._exit(0)


class _Hand:
    """Holds the one job that a worker has in hand."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        # The queue hands out one job at a time by counting those that run, and a job that it has just handed out counts
        # only once this loop has come round to it; the lock makes sure.
        self._one = asyncio.Lock()
        self._stopping = False
        self._attempt: asyncio.Task[None] | None = None
        self._txid = ""

    async def take(self, txid: str) -> None:
        """Make one attempt at a job: what the queue calls, and cancels when the job is cancelled."""
        async with self._one:
            if not self._stopping:
                self._txid, self._attempt = txid, asyncio.create_task(attempt(self._tools, txid))
                try:
                    await asyncio.wait({self._attempt})
                except asyncio.CancelledError:
                    self._attempt.cancel()
                    await asyncio.wait({self._attempt})
                    raise
                if not self._attempt.cancelled():
                    self._attempt.result()
                    return
        # The job is to be taken up again by the slot's next process, so the queue must see no end of it.
        await asyncio.Event().wait()

    async def put_down(self) -> None:
        """Kill the job in hand and don't hold it against the job; the next process of this slot takes it up again."""
        self._stopping = True
        if self._attempt is None or self._attempt.done():
            return
        self._attempt.cancel()
        await asyncio.wait({self._attempt}, timeout=_STOP_SECONDS)
        if self._attempt.cancelled():
            await asyncio.to_thread(hand_back, self._tools, self._txid)


def main(arguments: list[str]) -> int:
    """Run the worker of one slot, as the supervisor starts it; the exit code is that of `errors.py`."""
    from coppice.sandbox import open_runner  # not at the top: tests run a worker without the sandbox

    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(message)s")
    settings = load()
    try:
        run(settings, lambda folder: open_runner(settings, folder), slot=int(arguments[0]))
    except CoppiceError as e:
        _log.error("%s", e.message)  # a refusal to start, not a fault
        return e.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

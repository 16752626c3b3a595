"""A worker process: takes jobs from its queue one at a time until it is told to stop.

Started by `jobs.supervisor` as `python -m coppice.jobs.worker QUEUE SLOT EXECUTOR`. A slot is a worker's number on its
machine; it is what remains when the process is killed and another takes its place, with the jobs that were in its
hands.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy.exc import SQLAlchemyError

from coppice import logs
from coppice.errors import CoppiceError, DatabaseUnavailable
from coppice.jobs import metrics, webhooks
from coppice.jobs.attempt import Tools
from coppice.jobs.calls import Caller
from coppice.jobs.database import open_database
from coppice.jobs.errands import Errand, run_errands
from coppice.jobs.hand import Hand, let_go, note_loss, tell_loss
from coppice.jobs.heartbeat import Heartbeat, reap
from coppice.jobs.locks import hold
from coppice.jobs.patience import AWAY
from coppice.jobs.queue import Held, Queue, work
from coppice.jobs.seats import Seat
from coppice.jobs.sweep import LISTING_SECONDS, sweep, sweep_store
from coppice.jobs.watch import watch
from coppice.sandbox import remove
from coppice.settings import Settings, load
from coppice.storage import Storage

if TYPE_CHECKING:
    from coppice.sandbox import Runner

_log = logging.getLogger(__name__)

#: Time between two sweeps of expired results, seconds; a tenth of the retention where that is less.
_SWEEP_SECONDS = 60.0
#: How long a worker that ends waits for the database to hear of it, seconds.
_GOODBYE_SECONDS = 5.0


def run(settings: Settings, open_runner: Callable[[Path], Runner], seat: Seat) -> NoReturn:
    """Work until SIGTERM or SIGINT. `open_runner` gets the slot's own folder, empty, and gives what runs a job.

    Told to stop, it goes on with its job for `drain_seconds`, or until it is told again.
    """
    folder = settings.data_dir.absolute() / "work" / f"{seat.queue}-{seat.slot}"
    # An orphan of the same slot would run the same jobs, so the slot is held for as long as the process lives.
    with hold(folder.with_suffix(".lock"), f"worker slot {folder.name}"):
        # What a killed worker left may hold a job's own folders, which can be deeper than `shutil.rmtree` goes.
        remove(folder)
        folder.mkdir()
        asyncio.run(_work(settings, open_runner, seat, folder))
    raise AssertionError("a worker ends in _work")


async def _work(settings: Settings, open_runner: Callable[[Path], Runner], seat: Seat, folder: Path) -> NoReturn:
    loop = asyncio.get_running_loop()
    stop, hurry = _told(loop)
    engine, storage, note = open_database(settings), Storage(settings), folder.with_suffix(".lost")
    tell_loss(note, engine)
    heartbeat = Heartbeat(
        # Its own where it matters: nobody's work may keep it waiting for a connection.
        open_database(settings) if settings.fleet else engine,
        executor=seat.executor,
        queue=seat.queue,
        settings=settings,
    )
    heartbeat.join()
    # At once: to try the sandbox can take longer than a process may be silent.
    heartbeat.start()
    queue = Queue(engine)
    tools = Tools(
        settings=settings,
        engine=engine,
        storage=storage,
        runner=open_runner(folder),
        folder=folder,
        keeps=lambda session, txid: queue.keeps(session, Held(txid=txid, executor=seat.executor)),
    )
    hand = Hand(tools)
    watch(
        loop,
        # On one machine nobody else could take the jobs: there a worker waits for the database as long as it takes.
        silence=lambda: heartbeat.silence if settings.fleet else 0.0,
        longest=settings.dead_after_seconds,
        before_end=lambda: note_loss(note, hand.start),
    )
    await work(engine, seat.executor, seat.queue, hand.take)
    errands = asyncio.create_task(run_errands(_errands(tools, queue, heartbeat)))
    await stop.wait()
    errands.cancel()
    try:
        await hand.put_down(within=settings.drain_seconds, hurry=hurry)
        if settings.fleet:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await let_go(queue, seat.executor)
                await asyncio.to_thread(heartbeat.leave)
                # The queue may have handed out one more in between: nobody would miss it for as long as a death takes.
                await let_go(queue, seat.executor)
    except (SQLAlchemyError, TimeoutError):
        _log.warning("the database was not told of this worker's end", exc_info=True)
    # The loop must not end: its end would cancel the queue's own task, which would note an end of the job in hand.
    os._exit(0)


def _told(loop: asyncio.AbstractEventLoop) -> tuple[asyncio.Event, asyncio.Event]:
    """What is set when the process is told to stop, and when it is told a second time."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    return stop, hurry


def _errands(tools: Tools, queue: Queue, heartbeat: Heartbeat) -> tuple[Errand, ...]:
    settings = tools.settings
    caller = Caller(private=settings.webhook_private)

    async def bury() -> None:
        if settings.fleet and heartbeat.steady:
            await asyncio.to_thread(reap, tools.engine, queue, settings)

    return (
        Errand(
            name="sweep",
            pause=min(_SWEEP_SECONDS, settings.retention_seconds / 10),
            do=lambda: sweep(settings, tools.engine, queue, tools.storage),
        ),
        Errand(
            name="sweep of the store",
            pause=min(LISTING_SECONDS, settings.uploads_seconds / 10),
            do=lambda: sweep_store(settings, tools.engine, tools.storage),
        ),
        Errand(name="reaping", pause=settings.heartbeat_seconds, do=bury),
        Errand(name="webhooks", pause=webhooks.PAUSE_SECONDS, do=lambda: webhooks.deliver(tools.engine, caller)),
    )


def main(arguments: list[str]) -> int:
    """Run the worker of one slot, as the supervisor starts it; the exit code is that of `errors`."""
    from coppice.sandbox import open_runner  # not at the top: tests run a worker without the sandbox

    settings, seat = load(), Seat.of(arguments)
    logs.set_up(settings, f"worker {seat.queue} {seat.slot}")
    metrics.open_metrics(settings, f"worker-{seat.queue}-{seat.slot}")
    try:
        run(settings, lambda folder: open_runner(settings, folder), seat)
    except CoppiceError as e:
        _log.error("%s", e.message)  # a refusal to start, not a fault
        return e.exit_code
    except AWAY as e:
        _log.error("the database went away: %s", type(e).__name__)  # no fault of ours
        return DatabaseUnavailable.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

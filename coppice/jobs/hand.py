"""The one job that a worker has in hand: how it is taken up, put down, and not lost sight of.

Here: what happens to a job when its worker ends. Not here: the attempt itself (`jobs.attempt`), the signals
(`jobs.worker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from coppice.jobs import queries
from coppice.jobs.attempt import Tools, attempt
from coppice.jobs.queue import Queue
from coppice.logs import about

_log = logging.getLogger(__name__)

#: What a stopped worker waits for its job's processes to be killed, seconds.
_STOP_SECONDS = 8.0
#: The queue notes the end of a job a moment after the job's own commit of it, seconds.
_NOTED_SECONDS = 1.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a job."""

    txid: str
    attempt: int


class Hand:
    """Holds the one job that a worker has in hand."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        # The queue hands out one job at a time by counting those that run, and a job that it has just handed out counts
        # only once this loop has come round to it; the lock makes sure.
        self._one = asyncio.Lock()
        self._stopping = False
        self._attempt: asyncio.Task[None] | None = None
        self._start: Start | None = None

    @property
    def start(self) -> Start | None:
        """The start that is under way."""
        return None if self._attempt is None or self._attempt.done() else self._start

    async def take(self, txid: str) -> None:
        """Make one attempt at a job: what the queue calls, and cancels when the job is cancelled."""
        async with self._one:
            if not self._stopping:
                self._start = None
                with about(txid=txid):
                    self._attempt = asyncio.create_task(attempt(self._tools, txid, self._begun))
                try:
                    await asyncio.wait({self._attempt})
                except asyncio.CancelledError:
                    self._attempt.cancel()
                    await asyncio.wait({self._attempt})
                    raise
                if not self._attempt.cancelled():
                    self._attempt.result()
                    return
        # The job is to be taken up again by another process, so the queue must see no end of it.
        await asyncio.Event().wait()

    def _begun(self, txid: str, number: int) -> None:
        self._start = Start(txid=txid, attempt=number)

    async def put_down(self, *, within: float, hurry: asyncio.Event) -> None:
        """Take no more jobs; go on with the one in hand for so many seconds, then kill it.

        It did nothing wrong, so that start is not held against it.
        """
        self._stopping = True
        if self._attempt is None or self._attempt.done():
            return
        if within > 0:
            _log.info("goes on with the job in hand for at most %.0f s", within)
            hurrying = asyncio.create_task(hurry.wait())
            await asyncio.wait({self._attempt, hurrying}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            hurrying.cancel()
        if not self._attempt.done():
            self._attempt.cancel()
            await asyncio.wait({self._attempt}, timeout=_STOP_SECONDS)
        if self._attempt.cancelled() and self._start is not None:
            await asyncio.to_thread(hand_back, self._tools.engine, self._start)


async def let_go(queue: Queue, executor: str) -> None:
    """Give what is still in this process's hands back to its queue, for another machine to take up at once.

    What has only just ended gets a moment to be noted as such, so that nobody takes it up for nothing.
    """
    end = asyncio.get_running_loop().time() + _NOTED_SECONDS
    while held := [job for job in await asyncio.to_thread(queue.held) if job.executor == executor]:
        if asyncio.get_running_loop().time() >= end:
            for job in held:
                await asyncio.to_thread(queue.release, job)
                _log.info("job %s is on its queue again", job.txid)
            return
        await asyncio.sleep(_POLL_SECONDS)


def hand_back(engine: Engine, start: Start) -> None:
    """Don't hold a start against its job: the service ended it, the job did nothing wrong."""
    with Session(engine) as session, session.begin():
        queries.hand_back_attempt(session, start.txid, start.attempt)


def note_loss(note: Path, start: Start | None) -> None:
    """Leave word for the next process of this slot that a start was lost, when the database can't be told."""
    if start is not None:
        note.write_text(json.dumps(asdict(start)))


def tell_loss(note: Path, engine: Engine) -> None:
    """Tell the database what the last process of this slot could not."""
    if not note.exists():
        return
    with contextlib.suppress(ValueError, TypeError):  # it was killed while it wrote
        hand_back(engine, Start(**json.loads(note.read_text())))
    note.unlink()

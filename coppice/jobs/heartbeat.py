"""A process of a fleet says that it lives, and takes the jobs of those that don't from their dead hands.

Here: the beats, in a thread of their own so that nothing else in the process can hold them up, and the reaper. Not
here: what a process does when it can't beat (`jobs.watch`), and the queries (`jobs.executors`).

DBOS takes up a killed process's jobs when another of the same name starts. That is every death but a machine's, and
for those there is the reaper. Nobody is taken for dead on the word of one who was cut off himself: only a process
whose own beats have come through without a gap for long enough may reap, so that after an outage of the database all
have time to beat first.
"""

from __future__ import annotations

import logging
import socket
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from coppice.jobs import executors
from coppice.jobs.queue import Queue
from coppice.settings import Settings

_log = logging.getLogger(__name__)

#: The longest pause after a beat that did not come through, seconds.
_AGAIN_SECONDS = 1.0


def now() -> float:
    """Seconds on a clock that also runs while the machine sleeps, as the database's does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """The signs of life of one process. `engine` is to be its own: beats must not wait for a connection."""

    def __init__(self, engine: Engine, *, executor: str, queue: str | None, settings: Settings) -> None:
        self._engine = engine
        self._executor = executor
        self._queue = queue
        self._pause = settings.heartbeat_seconds
        self._steady_seconds = settings.dead_after_seconds
        # Taken before a beat is sent: the database can only have seen it later.
        self._last = now()
        self._since: float | None = self._last
        self._buried = False
        self._end = threading.Event()

    def join(self) -> None:
        """Beat for the first time, before any job is taken; raises what the database does when it is away."""
        sent = now()
        with Session(self._engine) as session, session.begin():
            executors.join(session, executor=self._executor, queue=self._queue, host=socket.gethostname())
        self._last, self._since = sent, sent

    def start(self) -> None:
        """Go on beating."""
        threading.Thread(target=self._go_on, name="heartbeat", daemon=True).start()

    def leave(self) -> None:
        """Stop, in order: nothing is left in this process's hands."""
        self._end.set()
        with Session(self._engine) as session, session.begin():
            executors.leave(session, self._executor)

    @property
    def silence(self) -> float:
        """Seconds since the last beat that came through; without end when others took this process for dead."""
        return float("inf") if self._buried else now() - self._last

    @property
    def steady(self) -> bool:
        """Whether the beats have come through without a gap for as long as it takes to be taken for dead."""
        return not self._buried and self._since is not None and self._last - self._since >= self._steady_seconds

    def _go_on(self) -> None:
        pause = self._pause
        while not self._end.wait(pause):
            sent, gap = now(), self._since is None
            try:
                with Session(self._engine) as session, session.begin():
                    known = executors.beat(session, self._executor)
            except SQLAlchemyError as e:
                if not gap:
                    _log.warning("no sign of life reaches the database: %s", type(e).__name__)
                self._since, pause = None, min(self._pause, _AGAIN_SECONDS)
                continue
            if not known:
                self._buried = not self._end.is_set()
                return
            if gap:
                _log.info("signs of life reach the database again")
            self._last, pause = sent, self._pause
            self._since = sent if self._since is None else self._since


def reap(engine: Engine, queue: Queue, settings: Settings) -> int:
    """Give the jobs of dead processes back to their queues, and say how many. For a steady process only.

    A process ends itself when it has been silent for `dead_after_seconds`; here it counts as dead one beat later.
    """
    with Session(engine) as session, session.begin():
        for dead in executors.bury(session, settings.dead_after_seconds + settings.heartbeat_seconds):
            _log.warning("process %s counts as dead: no sign of life for %.0f s", dead, settings.dead_after_seconds)
        # Those that died between being taken off the table and this, too. Given back before the commit: until then
        # none of the dead can come back and have its jobs taken out of its living hands.
        held, living = queue.held(), executors.living(session)
        given = [job.txid for job in held if job.executor not in living and queue.release(job)]
        for txid in given:
            _log.warning("job %s is on its queue again: its process is dead", txid)
    return len(given)

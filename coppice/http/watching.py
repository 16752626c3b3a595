"""Waiting for jobs: one look at the database for all who wait in this process, and none while nobody does.

Who waits is told of the first change after what was seen last; what was between two looks is not shown. Not here: what
is answered then (`http.events`, `http.routes`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from coppice.errors import DatabaseUnavailable
from coppice.http.drain import Drain
from coppice.records.job import Glance

_log = logging.getLogger(__name__)

#: Time between two looks, seconds: workers write progress about as often.
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    seen: Glance | None
    told: asyncio.Future[Glance | None]


class Watch:
    """The jobs that somebody waits for. One event loop uses it."""

    def __init__(self, look: Callable[[Collection[str]], Mapping[str, Glance]], drain: Drain) -> None:
        self._look = look
        self._drain = drain
        self._waiters: dict[str, set[_Waiter]] = {}
        self._poller: asyncio.Task[None] | None = None

    @property
    def stopping(self) -> bool:
        """Whether the server is to end: nobody waits any more then."""
        return self._drain.begun.is_set()

    @property
    def watched(self) -> frozenset[str]:
        """The transactions that somebody waits for."""
        return frozenset(self._waiters)

    async def change(self, txid: str, seen: Glance | None, seconds: float) -> Glance | None:
        """What a job looks like once that isn't `seen`, or else `seen` after so many seconds, or when the server ends.

        None: the job is not there any more.
        """
        if self.stopping or seconds <= 0:
            return seen
        waiter = _Waiter(seen, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(txid, set()).add(waiter)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            return await asyncio.wait_for(waiter.told, seconds)
        except TimeoutError:
            return seen
        finally:
            self._waiters[txid].discard(waiter)
            if not self._waiters[txid]:
                del self._waiters[txid]

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.stopping:
                self._send_away()
                return
            watched = list(self._waiters)
            if not watched:
                return
            try:
                found = await asyncio.to_thread(self._look, watched)
            except (SQLAlchemyError, DatabaseUnavailable) as e:  # whoever waits may as well wait for the database
                _log.warning("looking after %d jobs failed: %s", len(watched), type(e).__name__)
                continue
            self._tell({txid: found.get(txid) for txid in watched})

    def _tell(self, looked: Mapping[str, Glance | None]) -> None:
        for txid, glance in looked.items():
            for waiter in self._waiters.get(txid, ()):
                if not waiter.told.done() and glance != waiter.seen:
                    waiter.told.set_result(glance)

    def _send_away(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.told.done():
                    waiter.told.set_result(waiter.seen)

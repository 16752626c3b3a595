"""Waiting for a database or a store that is away for a while: a job that was computed is worth a wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from coppice.errors import StorageUnavailable

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: What a call of the database ends with while that is not to be reached, is full, or starts again.
AWAY = (OperationalError, InterfaceError, NoConnection)

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 4.0
#: How long a job waits for the store before it fails, seconds: a restart of it passes, a full disk doesn't.
STORE_SECONDS = 30.0


async def insist(do: Callable[[], T], what: str) -> T:
    """Have a thread do something with the database until it is done; nothing but a cancellation gives up.

    Cancelled, it waits for a call that is under way, so that nothing is written behind its caller's back. A worker of a
    fleet that waits too long ends itself (`jobs.watch`); on one machine there is nobody else to do the job.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        call = asyncio.ensure_future(asyncio.to_thread(do))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait({call})
            call.exception()  # or it would be reported as one that nobody looked at
            raise
        except AWAY as e:
            _log.warning("%s waits %.1f s for the database: %s", what, pause, type(e).__name__)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def while_the_store_is_away(do: Callable[[], Awaitable[T]], what: str, *, seconds: float = STORE_SECONDS) -> T:
    """Do something with the store, again while it can't be used; raises StorageUnavailable when that takes too long."""
    pause, end = _FIRST_PAUSE_SECONDS, time.monotonic() + seconds
    while True:
        try:
            return await do()
        except StorageUnavailable as e:
            if time.monotonic() + pause > end:
                raise
            _log.warning("%s waits %.1f s for the store: %s", what, pause, e.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

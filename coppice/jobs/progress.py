"""A job's progress on its way to the database: the newest only, a few times a second at most."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from coppice.jobs.patience import AWAY
from coppice.records.report import Progress

_log = logging.getLogger(__name__)

#: Least time between two writes, seconds: each is a commit that reaches the disk, and people poll about as often.
_PAUSE_SECONDS = 0.25


@contextlib.asynccontextmanager
async def saving_progress(save: Callable[[Progress], None]) -> AsyncIterator[Callable[[Progress], None]]:
    """Give a function that takes each progress without waiting; `save` is called in a thread, with the newest."""
    newest: list[Progress] = []
    arrived = asyncio.Event()

    def show(progress: Progress) -> None:
        newest[:] = [progress]
        arrived.set()

    async def keep_saving() -> None:
        while True:
            await arrived.wait()
            arrived.clear()
            try:
                await asyncio.to_thread(save, newest[0])
            except AWAY:  # a job is worth more than a line about it
                _log.warning("progress not saved", exc_info=True)
            await asyncio.sleep(_PAUSE_SECONDS)

    saving = asyncio.create_task(keep_saving())
    try:
        yield show
    finally:
        saving.cancel()
        await asyncio.wait({saving})

"""What a worker does from time to time beside its job: sweeping, reaping and the like. Several workers may at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something to do again and again, with a pause between."""

    name: str
    pause: float  # seconds
    do: Callable[[], Awaitable[object]]


async def run_errands(errands: tuple[Errand, ...]) -> None:
    """Run each of them until this is cancelled; one that fails is put off to its next time."""
    async with asyncio.TaskGroup() as group:
        for errand in errands:
            group.create_task(_repeat(errand), name=errand.name)


async def _repeat(errand: Errand) -> None:
    while True:
        try:
            await errand.do()
        except Exception:  # noqa: BLE001  # the database or the store may be away; a worker is there for its jobs first
            _log.warning("%s put off", errand.name, exc_info=True)
        await asyncio.sleep(errand.pause)

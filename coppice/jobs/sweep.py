"""What deletes: results past their retention, jobs past their time, and files that belong to no job.

Every step may be done by several workers at once, takes so much at a time, and is done again by the next round where
it failed. Not here: the audit log, the rates and the executors, whose rows go where they are written.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from coppice.errors import CoppiceError, InternalError
from coppice.jobs import queries, remains
from coppice.jobs.queue import Queue
from coppice.jobs.remains import Owner
from coppice.records.job import JobState
from coppice.records.report import Failure
from coppice.settings import Settings
from coppice.storage import Folder, Storage, job_prefixes

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Time between two looks at what is in the store, seconds: an S3 is asked for a page for each thousand files.
LISTING_SECONDS = 600.0
#: Jobs of one step of one round, and of one query.
_MOST = 2000
_BATCH = 200
#: What has just ended is left alone: an attempt that was overtaken may still be writing, and a queue still noting.
_GRACE = timedelta(minutes=10)
#: Jobs in a row whose files can't be deleted, after which it is the store that fails, and not they.
_MOST_FAILURES = 5

_FAILURES = (CoppiceError, OSError, SQLAlchemyError)


async def sweep(
    settings: Settings, engine: Engine, queue: Queue, storage: Storage, *, now: datetime | None = None
) -> None:
    """One round over the jobs: what has ended long ago loses its files, and later its rows."""
    now = now or datetime.now(UTC)
    retention, record = timedelta(seconds=settings.retention_seconds), timedelta(seconds=settings.record_seconds)
    await _each(
        lambda: asyncio.to_thread(_note_ends, engine, queue, now - _GRACE),
        lambda: _delete_results(engine, storage, now - retention),
        lambda: asyncio.to_thread(_forget, engine, queue, now - record),
        lambda: asyncio.to_thread(_forget_strays, engine, queue, now - _GRACE),
    )


async def sweep_store(settings: Settings, engine: Engine, storage: Storage, *, now: datetime | None = None) -> None:
    """One round over the store: what belongs to no job, or to none any more, and was not written to lately."""
    now = now or datetime.now(UTC)
    # No upload that takes half as long is accepted, so of one that nothing was written to for so long none will be.
    abandoned = now - timedelta(seconds=settings.uploads_seconds)
    await _each(
        lambda: _delete_uploads(engine, storage, abandoned, now - _GRACE),
        lambda: _delete_attempts(engine, storage, abandoned, now - _GRACE),
    )


async def sweep_unaccepted(engine: Engine, storage: Storage) -> None:
    """Delete the uploads that belong to no job, left by a server that was killed. Only while no server is running."""
    if not storage.shared:
        now = datetime.now(UTC)
        await _delete_uploads(engine, storage, now + timedelta(days=1), now - _GRACE)


async def _each(*steps: Callable[[], Awaitable[object]]) -> None:
    for step in steps:
        try:
            await step()
        except _FAILURES:
            _log.warning("a step of the sweep is put off", exc_info=True)


def _note_ends(engine: Engine, queue: Queue, cutoff: datetime) -> None:
    """`Desk.cancel` writes to the queue and then to the row; a kill in between leaves the row without its end."""
    with Session(engine) as session:
        rows = remains.unnoted_ends(session, cutoff, _MOST)
    standings = queue.standings([row.txid for row in rows])
    for row in rows:
        standing = standings.get(row.txid)
        if standing is None or standing.ended is None or standing.ended > cutoff:
            continue
        with Session(engine) as session, session.begin():
            if standing.state is JobState.CANCELLED:
                queries.note_end(session, row.txid, standing.ended)
            else:
                queries.fail(session, row.txid, row.attempts, finished=standing.ended, failure=_FAILURE)


_FAILURE = Failure(code=InternalError.code, message="The service failed on this job. Send it again.")


async def _delete_results(engine: Engine, storage: Storage, cutoff: datetime) -> None:
    def find() -> list[str]:
        with Session(engine) as session:
            return remains.past_retention(session, cutoff, _MOST)

    def note(txid: str) -> None:
        with Session(engine) as session, session.begin():
            queries.mark_swept(session, txid, datetime.now(UTC))

    async def delete(txid: str) -> None:
        for prefix in job_prefixes(txid):
            await storage.delete_prefix(prefix)
        await asyncio.to_thread(note, txid)

    await _all(await asyncio.to_thread(find), delete)


def _forget(engine: Engine, queue: Queue, cutoff: datetime) -> None:
    with Session(engine) as session:
        txids = remains.past_record(session, cutoff, _MOST)
    for batch in _batches(txids):
        # The queue first: after a kill in between the row is still there to tell.
        queue.forget(batch)
        with Session(engine) as session, session.begin():
            remains.forget_jobs(session, batch)


def _forget_strays(engine: Engine, queue: Queue, cutoff: datetime) -> None:
    """What the queue still knows of jobs that their clients have deleted."""
    with Session(engine) as session:
        strays = queue.strays(session, cutoff)[:_MOST]
    for batch in _batches(strays):
        queue.forget(batch)


async def _delete_uploads(engine: Engine, storage: Storage, abandoned: datetime, ended: datetime) -> None:
    def gone(folder: Folder, owner: Owner | None) -> bool:
        return folder.written < abandoned if owner is None else owner.ended(ended)

    await _delete_where(engine, storage, await storage.uploads(), gone)


async def _delete_attempts(engine: Engine, storage: Storage, abandoned: datetime, ended: datetime) -> None:
    def gone(folder: Folder, owner: Owner | None) -> bool:
        if owner is None:
            return folder.written < abandoned
        # Of a job that has ended one attempt is published, if any. The others were killed, or overtaken.
        return owner.ended(ended) and not owner.keeps(folder)

    await _delete_where(engine, storage, await storage.results(), gone)


async def _delete_where(
    engine: Engine, storage: Storage, folders: Sequence[Folder], gone: Callable[[Folder, Owner | None], bool]
) -> None:
    def find(batch: Sequence[Folder]) -> list[Folder]:
        with Session(engine) as session:
            owners = remains.owners(session, {folder.txid for folder in batch})
        return [folder for folder in batch if gone(folder, owners.get(folder.txid))]

    async def delete(folder: Folder) -> None:
        await storage.delete_prefix(folder.prefix)

    for batch in _batches(folders):
        await _all(await asyncio.to_thread(find, batch), delete)


async def _all(found: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Do it with each, so that one that fails doesn't stop the others."""
    failures = 0
    # In no order: several sweepers then share the work, and what fails is not always first.
    for one in random.sample(found, len(found)):
        try:
            await do(one)
        except _FAILURES as e:
            failures += 1
            _log.warning("left to the next sweep: %s: %s", type(e).__name__, e)
            if failures == _MOST_FAILURES:
                raise
        else:
            failures = 0


def _batches(found: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), _BATCH):
        yield found[start : start + _BATCH]

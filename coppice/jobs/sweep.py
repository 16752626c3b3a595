"""What deletes files: results past their retention, and uploads that were never accepted. Rows stay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from coppice.jobs import queries
from coppice.jobs.queue import Queue
from coppice.storage import Storage, job_prefixes


async def sweep_expired(engine: Engine, queue: Queue, storage: Storage, retention: timedelta) -> None:
    """Delete the files of every job that ended longer ago than the retention. Several workers may do it at once."""
    for txid in await asyncio.to_thread(_expired, engine, queue, datetime.now(UTC) - retention):
        for prefix in job_prefixes(txid):
            await storage.delete_prefix(prefix)
        await asyncio.to_thread(_mark_swept, engine, txid)


async def sweep_unaccepted(engine: Engine, storage: Storage) -> None:
    """Delete the uploads that belong to no job, left by a server that was killed. Only while no server is running."""
    uploaded = storage.transactions_with_uploads()
    with Session(engine) as session:
        unaccepted = uploaded - queries.accepted(session, uploaded)
    for txid in unaccepted:
        await storage.delete_prefix(job_prefixes(txid)[0])


def _expired(engine: Engine, queue: Queue, cutoff: datetime) -> list[str]:
    with Session(engine) as session, session.begin():
        # `Desk.cancel` writes to the queue and then to the row; a kill in between leaves the row without its end.
        for txid in queries.unfinished_since(session, cutoff):
            standing = queue.standing(txid)
            if standing is not None and standing.ended is not None:
                queries.note_end(session, txid, standing.ended)
        return queries.past_retention(session, cutoff)


def _mark_swept(engine: Engine, txid: str) -> None:
    with Session(engine) as session, session.begin():
        queries.mark_swept(session, txid, datetime.now(UTC))

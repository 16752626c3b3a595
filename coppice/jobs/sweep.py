"""What deletes files: results past their retention, and uploads that were never accepted. Rows stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from coppice.jobs import queries
from coppice.jobs.queue import Queue
from coppice.storage import Storage, job_prefixes


async def sweep_expired(engine: Engine, queue: Queue, storage: Storage, retention: timedelta) -> None:
    """Delete the files of every job that ended longer ago than the retention. Several workers may do it at once."""
    cutoff = datetime.now(UTC) - retention
    _note_ends(engine, queue, cutoff)
    with Session(engine) as session:
        txids = queries.past_retention(session, cutoff)
    for txid in txids:
        for prefix in job_prefixes(txid):
            await storage.delete_prefix(prefix)
        with Session(engine) as session, session.begin():
            queries.mark_swept(session, txid, datetime.now(UTC))


async def sweep_unaccepted(engine: Engine, storage: Storage) -> None:
    """Delete the uploads that belong to no job, left by a server that was killed. Only while no server is running."""
    uploaded = storage.transactions_with_uploads()
    with Session(engine) as session:
        unaccepted = uploaded - queries.accepted(session, uploaded)
    for txid in unaccepted:
        await storage.delete_prefix(job_prefixes(txid)[0])


def _note_ends(engine: Engine, queue: Queue, cutoff: datetime) -> None:
    # `Desk.cancel` writes to the queue and then to the row; a kill in between leaves the row without its end.
    with Session(engine) as session:
        unfinished = queries.unfinished_since(session, cutoff)
    for txid in unfinished:
        standing = queue.standing(txid)
        if standing is not None and standing.ended is not None:
            with Session(engine) as session, session.begin():
                queries.note_end(session, txid, standing.ended)

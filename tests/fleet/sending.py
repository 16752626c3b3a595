"""Many jobs at once: scripts that a worker of the tests runs, and rows that only wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import sqlalchemy as sa

from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.records.request import Part
from coppice.settings import Settings
from coppice.storage import Storage, StoredFile, upload_key
from tests.jobs.job_processes import REQUEST

LATE = 1_000_000


def send_all(settings: Settings, client: str, scripts: Sequence[str]) -> list[str]:
    """Submit scripts as jobs, in their order."""
    desk, storage = Desk(settings), Storage(settings)

    async def stored(txid: str, script: str) -> StoredFile:
        async def chunks() -> AsyncIterator[bytes]:
            yield script.encode()

        return await storage.put(upload_key(txid, Part.MODEL, "net.h5"), chunks(), limit=10_000)

    txids = [str(uuid4()) for _ in scripts]
    for txid, script in zip(txids, scripts, strict=True):
        desk.submit(txid=txid, client=client, request=REQUEST, uploads=[asyncio.run(stored(txid, script))])
    return txids


def crowd(settings: Settings, clients: Sequence[str], each: int) -> None:
    """Have each client wait with that many jobs: copies of one that was sent, written straight into the tables.

    Their turns are late: what is sent after them goes before them.
    """
    txid = str(uuid4())
    Desk(settings).submit(txid=txid, client="a copy's original", request=REQUEST, uploads=[])
    engine = open_database(settings)
    queue = "dbos" if settings.fleet else None
    with engine.begin() as connection:
        jobs = sa.Table("jobs", sa.MetaData(), autoload_with=connection)
        standing = sa.Table("workflow_status", sa.MetaData(), schema=queue, autoload_with=connection)
        told = sa.Table("workflow_input", sa.MetaData(), schema=queue, autoload_with=connection)
        job = dict(connection.execute(sa.select(jobs).where(jobs.c.txid == txid)).mappings().one())
        del job["number"]
        state, words = (
            dict(connection.execute(sa.select(table).where(table.c.workflow_uuid == txid)).mappings().one())
            for table in (standing, told)
        )
        waiting = [(str(uuid4()), client, turn) for turn in range(LATE, LATE + each) for client in clients]
        connection.execute(
            sa.insert(jobs), [{**job, "txid": own, "client": client, "turn": turn} for own, client, turn in waiting]
        )
        connection.execute(
            sa.insert(standing),
            [
                {**state, "workflow_uuid": own, "priority": turn, "creator_xid": str(uuid4())}
                for own, _client, turn in waiting
            ],
        )
        connection.execute(
            sa.insert(told),
            [{**words, "workflow_uuid": own, "inputs": words["inputs"].replace(txid, own)} for own, *_ in waiting],
        )
    engine.dispose()

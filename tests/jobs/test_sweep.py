"""What is deleted, and what is not: the clock is moved instead of waiting for it."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from coppice.errors import StorageUnavailable, UnknownTransaction
from coppice.jobs import queries
from coppice.jobs.attempt import Tools, attempt
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.queue import JobFailedError, Queue
from coppice.jobs.sweep import sweep, sweep_store, sweep_unaccepted
from coppice.jobs.tables import WebhookRow
from coppice.records.job import JobState
from coppice.settings import Settings
from coppice.storage import Storage
from tests.jobs.job_processes import CRASH, FINISH, ScriptRunner, send

HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def tools(settings: Settings, tmp_path: Path) -> Tools:
    folder = tmp_path / "work"
    folder.mkdir()
    engine = open_database(settings)
    return Tools(settings=settings, engine=engine, storage=Storage(settings), runner=ScriptRunner(), folder=folder)


def stored(settings: Settings) -> set[str]:
    """The transactions that have files, and others' folders."""
    return {path.name for path in settings.data_dir.glob("store/*/*")}


def later(tools: Tools, after: timedelta, storage: Storage | None = None) -> None:
    """Sweep as if so much time had passed."""
    now, storage = datetime.now(UTC) + after, storage or tools.storage
    asyncio.run(sweep(tools.settings, tools.engine, Queue(tools.engine), storage, now=now))
    asyncio.run(sweep_store(tools.settings, tools.engine, storage, now=now))


def finished(tools: Tools) -> str:
    txid = send(tools.settings, FINISH)
    asyncio.run(attempt(tools, txid))
    return txid


def rows(tools: Tools, txid: str) -> int:
    """In how many tables something of the job is found, ours and the queue's."""
    with tools.engine.connect() as connection:
        return sum(
            bool(connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {column} = :txid"), {"txid": txid}))
            for table, column in (("jobs", "txid"), ("webhooks", "txid"), ("workflow_status", "workflow_uuid"))
        )


def test_results_go_after_the_retention_and_rows_after_the_record(settings: Settings, tools: Tools) -> None:
    desk, done, waiting = Desk(settings), finished(tools), send(settings, FINISH)
    with Session(tools.engine) as session, session.begin():
        session.add(WebhookRow(txid=done, url="https://example.com", due=datetime.now(UTC)))
    later(tools, 11 * HOUR)
    assert stored(settings) == {done, waiting}
    later(tools, 13 * HOUR)
    assert stored(settings) == {waiting}
    assert desk.job(done, "ann").finished is not None
    later(tools, timedelta(days=6))
    assert rows(tools, done) == 3
    later(tools, timedelta(days=8))
    assert rows(tools, done) == 0
    with pytest.raises(UnknownTransaction):
        desk.job(done, "ann")
    # A job that has not ended is never too old.
    assert desk.job(waiting, "ann").state is JobState.QUEUED
    assert stored(settings) == {waiting}


def test_a_cancellation_that_was_cut_in_two_gets_its_end(settings: Settings, tools: Tools) -> None:
    txid = send(settings, FINISH)
    # As if the process had been killed between the two writes of a cancellation.
    Queue(tools.engine).cancel(txid)
    later(tools, HOUR)
    with Session(tools.engine) as session:
        row = queries.job(session, txid)
    assert row is not None
    assert row.finished is not None
    assert Desk(settings).job(txid, "ann").state is JobState.CANCELLED
    assert stored(settings) == set(), "the uploads of a job that has ended go at once"


def test_an_upload_without_a_job_goes_when_none_can_come_of_it(settings: Settings, tools: Tools) -> None:
    uploads = settings.data_dir / "store" / "uploads"
    abandoned, other = str(uuid4()), str(uuid4())
    (uploads / abandoned / "model").mkdir(parents=True)
    (uploads / abandoned / "model" / "net.h5#1").write_bytes(b"half")
    (uploads / "lost+found").mkdir()  # not ours, not touched
    (settings.data_dir / "store" / "results" / other / "1").mkdir(parents=True)
    later(tools, 23 * HOUR)
    assert stored(settings) == {abandoned, other, "lost+found"}
    # Something is written to it still: a slow upload is not an abandoned one.
    day = (datetime.now(UTC) + 24 * HOUR).timestamp()
    os.utime(uploads / abandoned / "model" / "net.h5#1", (day, day))
    later(tools, 25 * HOUR)
    assert abandoned in stored(settings)
    later(tools, 49 * HOUR)
    assert abandoned not in stored(settings)
    assert stored(settings) <= {other, "lost+found"}


def test_what_an_overtaken_attempt_stored_goes_and_the_result_stays(settings: Settings, tools: Tools) -> None:
    txid, failed = finished(tools), send(settings, CRASH)
    with pytest.raises(JobFailedError):
        asyncio.run(attempt(tools, failed))
    results = settings.data_dir / "store" / "results"
    for left in (results / txid / "2", results / failed / "1"):
        left.mkdir(parents=True)
        (left / "model.h5").write_bytes(b"half of a res")
    later(tools, timedelta(minutes=9))  # its process may still be writing
    assert (results / txid / "2" / "model.h5").exists()
    later(tools, timedelta(minutes=11))
    assert {path.relative_to(results).as_posix() for path in results.glob("*/*")} == {f"{txid}/1"}
    assert Desk(settings).job(txid, "ann").state is JobState.DONE


def test_what_the_queue_knows_of_a_deleted_job_goes(settings: Settings, tools: Tools) -> None:
    txid = send(settings, FINISH)
    Queue(tools.engine).cancel(txid)
    with tools.engine.begin() as connection:
        connection.execute(text("DELETE FROM jobs"))
    assert rows(tools, txid) == 1
    later(tools, HOUR)
    assert rows(tools, txid) == 0


class Stubborn(Storage):
    """A store in which one job's files can't be deleted."""

    def __init__(self, settings: Settings, txid: str) -> None:
        super().__init__(settings)
        self._txid = txid

    async def delete_prefix(self, prefix: str) -> None:
        if self._txid in prefix:
            raise StorageUnavailable("no")
        await super().delete_prefix(prefix)


def test_a_job_whose_files_stay_stops_no_other(settings: Settings, tools: Tools) -> None:
    stubborn, *others = (finished(tools) for _ in range(3))
    later(tools, 13 * HOUR, Stubborn(settings, stubborn))
    assert stored(settings) == {stubborn}
    assert Desk(settings).job(others[0], "ann").state is JobState.DONE, "by the real clock"
    later(tools, 13 * HOUR)
    assert stored(settings) == set()


def test_two_sweeps_at_once_do_no_harm(settings: Settings, tools: Tools) -> None:
    done, now = [finished(tools) for _ in range(2)], datetime.now(UTC) + timedelta(days=8)

    async def both() -> None:
        rounds = (
            sweep(settings, tools.engine, Queue(tools.engine), Storage(settings), now=now),
            sweep_store(settings, tools.engine, Storage(settings), now=now),
        )
        await asyncio.gather(*rounds, *(round_(settings, tools, now) for round_ in (_sweep, _sweep)))

    asyncio.run(both())
    asyncio.run(_sweep(settings, tools, now))
    assert stored(settings) == set()
    assert [rows(tools, txid) for txid in done] == [0] * 2


async def _sweep(settings: Settings, tools: Tools, now: datetime) -> None:
    await sweep(settings, tools.engine, Queue(tools.engine), Storage(settings), now=now)


def test_at_the_start_of_one_machine_every_upload_without_a_job_goes(settings: Settings, tools: Tools) -> None:
    waiting, unaccepted = send(settings, FINISH), str(uuid4())
    (settings.data_dir / "store" / "uploads" / unaccepted).mkdir()
    fleet = Storage(settings.model_copy(update={"database_url": "postgresql://elsewhere/coppice"}))
    asyncio.run(sweep_unaccepted(tools.engine, fleet))
    assert stored(settings) == {waiting, unaccepted}, "another machine's upload may be under way"
    asyncio.run(sweep_unaccepted(tools.engine, tools.storage))
    assert stored(settings) == {waiting}

"""Accepting, showing and cancelling jobs, with no worker about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from dbos import WorkflowStatusString
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from coppice.errors import UnknownTransaction
from coppice.jobs import queries
from coppice.jobs.attempt import Tools, attempt
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.queue import _STATES, JobFailedError, Queue
from coppice.jobs.tables import JobRow
from coppice.records.job import JobState
from coppice.records.report import Progress, Report
from coppice.settings import Settings
from coppice.storage import Storage, StoredFile
from tests.jobs.job_processes import CRASH, FINISH, REQUEST, ScriptRunner, send


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def submit(desk: Desk, *, client: str = "ann", txid: str | None = None) -> str:
    txid = txid or str(uuid4())
    upload = StoredFile(key=f"uploads/{txid}/model/net.h5", size=3, sha256="0" * 64)
    desk.submit(txid=txid, client=client, request=REQUEST, uploads=[upload])
    return txid


def kept(settings: Settings, txid: str) -> tuple[bool, bool]:
    """Whether there are the row and the queue entry, as another process sees it."""
    engine = open_database(settings)
    with Session(engine) as session:
        row = queries.job(session, txid)
    return row is not None, Queue(engine).standing(txid) is not None


def test_an_accepted_job_is_shown_as_it_was_sent(settings: Settings) -> None:
    before = datetime.now(UTC)
    job = Desk(settings).job(submit(Desk(settings)), "ann")
    assert (job.client, job.request, job.state, job.place) == ("ann", REQUEST, JobState.QUEUED, 1)
    assert before <= job.submitted <= datetime.now(UTC)
    assert (job.finished, job.failure, job.filename, job.artifacts) == (None, None, None, ())


def test_a_queue_that_refuses_leaves_no_row(settings: Settings) -> None:
    desk, txid = Desk(settings), str(uuid4())
    engine = open_database(settings)
    # A transaction id that the queue knows already, and the table doesn't: the second of the two writes fails.
    with Session(engine) as session, session.begin():
        Queue(engine).add(session, JobRow(txid=txid, number=1, client="ann"))
    assert kept(settings, txid) == (False, True)
    with pytest.raises(Exception, match=txid):
        submit(desk, txid=txid)
    assert kept(settings, txid) == (False, True)


def test_a_fault_after_both_writes_leaves_neither(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, txid = Desk(settings), str(uuid4())
    add = Queue.add

    def add_and_fail(self: Queue, session: Session, row: JobRow) -> None:
        add(self, session, row)
        raise RuntimeError("the last moment before the commit")

    monkeypatch.setattr(Queue, "add", add_and_fail)
    with pytest.raises(RuntimeError):
        submit(desk, txid=txid)
    assert kept(settings, txid) == (False, False)


def test_every_commit_reaches_the_disk(settings: Settings) -> None:
    with open_database(settings).connect() as connection:
        asked = {name: connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")}
    assert asked == {"journal_mode": "wal", "synchronous": 2}  # 2: FULL


def test_a_transaction_id_is_used_once(settings: Settings) -> None:
    desk = Desk(settings)
    txid = submit(desk)
    with pytest.raises(IntegrityError):
        submit(desk, txid=txid, client="bob")
    assert desk.job(txid, "ann").client == "ann"


def test_clients_see_their_own_jobs_only(settings: Settings) -> None:
    desk = Desk(settings)
    ann, bob = submit(desk, client="ann"), submit(desk, client="bob")
    with pytest.raises(UnknownTransaction) as another:
        desk.job(ann, "bob")
    with pytest.raises(UnknownTransaction):
        desk.cancel(ann, "bob")
    with pytest.raises(UnknownTransaction) as nobody:
        desk.job(str(uuid4()), "bob")
    assert another.value.as_dict() == nobody.value.as_dict()
    assert {desk.job(ann, "ann").state, desk.job(bob, "bob").state} == {JobState.QUEUED}


def test_a_cancelled_job_leaves_the_queue_and_those_behind_it_move_up(settings: Settings) -> None:
    desk = Desk(settings)
    txids = [submit(desk) for _ in range(3)]
    assert [desk.job(txid, "ann").place for txid in txids] == [1, 2, 3]
    desk.cancel(txids[0], "ann")
    desk.cancel(txids[0], "ann")
    jobs = [desk.job(txid, "ann") for txid in txids]
    assert [job.state for job in jobs] == [JobState.CANCELLED, JobState.QUEUED, JobState.QUEUED]
    assert [job.place for job in jobs] == [None, 1, 2]
    assert jobs[0].finished is not None


def test_every_state_of_the_queue_has_one_of_ours() -> None:
    assert set(_STATES) == {status.value for status in WorkflowStatusString}


@pytest.fixture
def tools(settings: Settings) -> Tools:
    folder = settings.data_dir / "work"
    folder.mkdir()
    engine = open_database(settings)
    return Tools(settings=settings, engine=engine, storage=Storage(settings), runner=ScriptRunner(), folder=folder)


def attempts(tools: Tools, txid: str) -> int:
    with Session(tools.engine) as session:
        row = queries.job(session, txid)
        assert row is not None
        return row.attempts


def test_a_job_that_ended_just_before_its_worker_died_is_not_run_again(settings: Settings, tools: Tools) -> None:
    done, failed = send(settings, FINISH), send(settings, CRASH)
    for _ in range(2):
        asyncio.run(attempt(tools, done))
        with pytest.raises(JobFailedError):
            asyncio.run(attempt(tools, failed))
    assert (attempts(tools, done), attempts(tools, failed)) == (1, 1)
    assert list(tools.folder.iterdir()) == []


def test_a_job_cancelled_at_the_last_moment_publishes_nothing(settings: Settings, tools: Tools) -> None:
    desk, txid = Desk(settings), send(settings, FINISH)

    class CancelledMeanwhile(ScriptRunner):
        async def run(
            self, folder: Path, on_progress: Callable[[Progress], None], *, seconds: int | None = None
        ) -> Report:
            report = await super().run(folder, on_progress)
            desk.cancel(txid, "ann")
            return report

    late = Tools(
        settings=settings,
        engine=tools.engine,
        storage=tools.storage,
        runner=CancelledMeanwhile(),
        folder=tools.folder,
    )
    with pytest.raises(JobFailedError):
        asyncio.run(attempt(late, txid))
    job = desk.job(txid, "ann")
    assert (job.state, job.filename, job.artifacts) == (JobState.CANCELLED, None, ())

"""One attempt at a job that another overtakes, that may not take long, or whose store is away."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from coppice.errors import CoppiceError, JobCrashed, StorageUnavailable
from coppice.jobs import queries
from coppice.jobs.attempt import Tools, attempt
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.patience import while_the_store_is_away
from coppice.jobs.queue import Held, JobFailedError, Queue
from coppice.records.report import Progress, Report
from coppice.records.terms import Terms
from coppice.settings import Settings
from coppice.storage import Storage
from tests.jobs.job_processes import FINISH, ScriptRunner, bytes_of, send


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


class Meanwhile(ScriptRunner):
    """Runs the script, and has something happen before its end is noted."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    async def run(self, folder: Path, on_progress: Callable[[Progress], None], *, seconds: int | None = None) -> Report:
        report = await super().run(folder, on_progress, seconds=seconds)
        self._happens()
        return report


def tools(settings: Settings, happens: Callable[[], None] = lambda: None) -> Tools:
    folder = settings.data_dir / "work"
    folder.mkdir(exist_ok=True)
    return Tools(
        settings=settings,
        engine=open_database(settings),
        storage=Storage(settings),
        runner=Meanwhile(happens),
        folder=folder,
    )


def begin_another(settings: Settings, txid: str) -> None:
    """What another process does that has taken this one for dead."""
    with Session(open_database(settings)) as session, session.begin():
        assert queries.begin_attempt(session, txid) is not None


@pytest.mark.parametrize("error", [None, JobCrashed("too late", field="model")])
def test_an_attempt_that_was_overtaken_changes_nothing(settings: Settings, error: CoppiceError | None) -> None:
    desk, txid = Desk(settings), send(settings, FINISH)

    def overtake() -> None:
        begin_another(settings, txid)
        if error is not None:
            raise error

    with pytest.raises(JobFailedError):
        asyncio.run(attempt(tools(settings, overtake), txid))
    job = desk.job(txid, "ann")
    assert (job.finished, job.failure, job.artifacts) == (None, None, ())
    # The uploads are still there for the attempt that counts.
    asyncio.run(attempt(tools(settings), txid))
    with Session(open_database(settings)) as session:
        row = queries.job(session, txid)
    assert row is not None
    assert [stored["key"] for stored in row.artifacts] == [f"results/{txid}/3/model.h5"]


def test_a_worker_that_lost_a_job_before_its_start_does_not_start_it(settings: Settings) -> None:
    txid, queue = send(settings, FINISH), Queue(open_database(settings))
    robbed = replace(
        tools(settings), keeps=lambda session, txid: queue.keeps(session, Held(txid=txid, executor="cpu-0"))
    )
    with pytest.raises(JobFailedError):
        asyncio.run(attempt(robbed, txid))
    with Session(open_database(settings)) as session:
        row = queries.job(session, txid)
    assert row is not None
    assert (row.attempts, row.finished) == (0, None)


def test_a_jobs_own_limit_of_time_ends_it(settings: Settings) -> None:
    txid = send(settings, "import time; time.sleep(600)", terms=Terms(time_limit=1))
    with pytest.raises(JobFailedError):
        asyncio.run(attempt(tools(settings), txid))
    with Session(open_database(settings)) as session:
        row = queries.job(session, txid)
    assert row is not None
    assert row.failure is not None
    assert row.failure["code"] == "time_limit"


def test_a_result_waits_for_a_store_that_comes_back(settings: Settings) -> None:
    txid = send(settings, FINISH)
    results = settings.data_dir / "store" / "results"

    def break_the_store() -> None:
        results.write_text("in the way of the folder")
        threading.Timer(1.0, results.unlink).start()

    asyncio.run(attempt(tools(settings, break_the_store), txid))
    assert bytes_of(settings, f"results/{txid}/1/model.h5") == b"pruned"


def test_a_store_that_does_not_come_back_ends_the_wait(settings: Settings) -> None:
    async def fail() -> None:
        raise StorageUnavailable("full")

    with pytest.raises(StorageUnavailable, match="full"):
        asyncio.run(while_the_store_is_away(fail, "a job", seconds=0.5))


@pytest.mark.parametrize(
    "error", [StorageUnavailable("The store is full."), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_job_that_fails_for_want_of_a_disk_says_so(settings: Settings, error: Exception) -> None:
    txid = send(settings, FINISH)

    def fail() -> None:
        raise error

    with pytest.raises(JobFailedError):
        asyncio.run(attempt(tools(settings, fail), txid))
    with Session(open_database(settings)) as session:
        row = queries.job(session, txid)
    assert row is not None
    assert row.failure is not None
    assert row.failure["code"] == "storage_unavailable"
    assert "full" in row.failure["message"]

"""The desk of a fleet: calls with one key at once, what a list can be asked for, and queues that nobody works on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from coppice.errors import IdempotencyConflict, UnknownTransaction
from coppice.http import answers
from coppice.jobs import executors
from coppice.jobs.database import migrate, open_database
from coppice.jobs.desk import Desk
from coppice.jobs.queue import Queue, migrate_queue
from coppice.records.frameworks import Framework
from coppice.records.job import JobState, Wanted
from coppice.records.request import Task
from coppice.settings import Settings
from tests.fleet.postgres import postgres
from tests.jobs.job_processes import REQUEST

pytestmark = pytest.mark.slow  # a real server

AT_ONCE = 6


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("fleet")
    with postgres(folder) as server:
        made = Settings(data_dir=folder / "data", database_url=server.url)
        migrate(made)
        migrate_queue(open_database(made).url)
        yield made


def submit(desk: Desk, *, client: str, key: str | None = None, fingerprint: str | None = None) -> str:
    return desk.submit(
        txid=str(uuid4()),
        client=client,
        request=REQUEST,
        uploads=(),
        idempotency_key=key,
        fingerprint=fingerprint,
    )


def test_of_calls_with_one_key_at_once_one_makes_a_job(settings: Settings) -> None:
    desks = [Desk(settings) for _ in range(2)]  # two API processes
    start = threading.Barrier(AT_ONCE)

    def send(number: int) -> str:
        start.wait()
        return submit(desks[number % 2], client="ann", key="k", fingerprint="f")

    with ThreadPoolExecutor(AT_ONCE) as people:
        txids = set(people.map(send, range(AT_ONCE)))
    assert len(txids) == 1
    assert [entry.txid for entry in desks[0].jobs("ann", Wanted(limit=9))] == list(txids)
    with pytest.raises(IdempotencyConflict):
        submit(desks[0], client="ann", key="k", fingerprint="another")


def test_a_list_is_filtered_as_on_sqlite(settings: Settings) -> None:
    desk = Desk(settings)
    first, second, third = (submit(desk, client="bob") for _ in range(3))
    desk.cancel(second, "bob")
    now = datetime.now(UTC)

    def listed(**wanted: object) -> list[str]:
        return [entry.txid for entry in desk.jobs("bob", Wanted.model_validate({"limit": 9, **wanted}))]

    assert listed(state=JobState.QUEUED) == [third, first]
    assert listed(state=JobState.CANCELLED) == [second]
    for state in (JobState.RUNNING, JobState.DONE, JobState.FAILED, JobState.EXPIRED):
        assert listed(state=state) == []
    assert listed(task=Task.PRUNE, framework=Framework.KERAS, since=now - timedelta(hours=1)) == [third, second, first]
    assert listed(framework=Framework.ONNX) == listed(task=Task.SWEEP) == listed(since=now + timedelta(hours=1)) == []
    assert {txid: glance.state for txid, glance in desk.glances([first, second]).items()} == {
        first: JobState.QUEUED,
        second: JobState.CANCELLED,
    }
    desk.delete(first, "bob")
    with pytest.raises(UnknownTransaction):
        desk.job(first, "bob")
    assert Queue(open_database(settings)).standing(first) is None


def test_a_queued_job_says_when_nobody_works_on_its_queue(settings: Settings) -> None:
    desk, engine = Desk(settings), open_database(settings)
    txid = submit(desk, client="cid")
    assert "No worker of its queue is running" in answers.status(desk.job(txid, "cid")).message
    with Session(engine) as session, session.begin():
        executors.join(session, executor="gpu-0", queue="gpu", host="here")
    assert desk.job(txid, "cid").unattended
    with Session(engine) as session, session.begin():
        executors.join(session, executor="cpu-0", queue="cpu", host="here")
    assert not desk.job(txid, "cid").unattended
    assert "No worker" not in answers.status(desk.job(txid, "cid")).message
    silent = Desk(settings.model_copy(update={"dead_after_seconds": 0.001}))
    assert silent.job(txid, "cid").unattended

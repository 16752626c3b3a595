"""What the queue does with jobs in workers' hands, and what it never does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.queue import Held, Queue
from coppice.records.job import JobState
from coppice.settings import Settings
from tests.jobs.job_processes import FINISH, end_of, hold, lines, send, until, worker

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Running:
    """A job that a worker has in hand and does not end before the gate opens; the worker is killed."""

    settings: Settings
    desk: Desk
    queue: Queue
    txid: str
    gate: Path


@pytest.fixture
def abandoned(tmp_path: Path) -> Running:
    """A job in the hands of a worker that is dead."""
    settings = Settings(data_dir=tmp_path / "data")
    log, gate = tmp_path / "log", tmp_path / "gate"
    desk, txid = Desk(settings), send(settings, hold(log, gate))
    with worker(settings):
        until(lambda: lines(log), "the start of the job")
    return Running(settings=settings, desk=desk, queue=Queue(open_database(settings)), txid=txid, gate=gate)


def test_a_released_job_is_run_by_another_worker(abandoned: Running) -> None:
    (held,) = abandoned.queue.held()
    assert held == Held(txid=abandoned.txid, executor="cpu-0")
    assert abandoned.queue.release(held)
    assert abandoned.desk.job(abandoned.txid, "ann").state is JobState.QUEUED
    abandoned.gate.touch()
    with worker(abandoned.settings, slot=1):
        assert end_of(abandoned.desk, abandoned.txid).state is JobState.DONE


def test_a_job_is_released_once_and_from_the_hands_that_have_it_only(abandoned: Running) -> None:
    (held,) = abandoned.queue.held()
    assert not abandoned.queue.release(Held(txid=held.txid, executor="cpu-7"))
    assert [abandoned.queue.release(held) for _ in range(2)] == [True, False]


def test_a_job_that_was_cancelled_is_not_released(abandoned: Running) -> None:
    (held,) = abandoned.queue.held()
    abandoned.desk.cancel(abandoned.txid, "ann")
    assert not abandoned.queue.release(held)
    assert abandoned.desk.job(abandoned.txid, "ann").state is JobState.CANCELLED


def test_depths_count_what_waits_and_what_runs(abandoned: Running) -> None:
    submitted = [abandoned.desk.job(send(abandoned.settings, FINISH), "ann").submitted for _ in range(3)]
    (depth,) = [abandoned.queue.depths()["cpu"]]
    assert (depth.queued, depth.running) == (3, 1)
    assert depth.oldest is not None
    assert abs((depth.oldest - submitted[0]).total_seconds()) < 60


def test_what_is_forgotten_was_never_there(abandoned: Running) -> None:
    abandoned.queue.forget([abandoned.txid])
    assert abandoned.queue.held() == ()
    assert abandoned.queue.standing(abandoned.txid) is None

"""Clients share a queue fairly, whatever each has waiting; a client's own jobs go by priority."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from coppice.jobs.desk import Desk
from coppice.records.job import JobState
from coppice.records.terms import Priority, Terms
from coppice.settings import Settings
from tests.jobs.job_processes import FINISH, REQUEST, end_of, hold, lines, send, until, worker


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def desk(settings: Settings) -> Desk:
    return Desk(settings)


def queued(desk: Desk, client: str, priority: Priority = Priority.NORMAL, queue: str = "cpu") -> str:
    """A job that waits, of which there is nothing but the row."""
    txid = str(uuid4())
    desk.submit(txid=txid, client=client, request=REQUEST, uploads=[], terms=Terms(priority=priority, queue=queue))
    return txid


def places(desk: Desk, **jobs: str) -> dict[str, int | None]:
    """The place of each job, by a name whose first word is its client."""
    return {name: desk.job(txid, name.partition("_")[0]).place for name, txid in jobs.items()}


def test_clients_take_turns(desk: Desk) -> None:
    many = [queued(desk, "many") for _ in range(4)]
    few = [queued(desk, "few") for _ in range(2)]
    order = sorted([*many, *few], key=lambda txid: desk.job(txid, "many" if txid in many else "few").place or 0)
    assert order == [many[0], few[0], many[1], few[1], many[2], many[3]]


def test_the_first_job_of_a_client_waits_for_what_runs_only(settings: Settings, desk: Desk, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    running = send(settings, hold(log, gate), client="many")
    for _ in range(20):
        queued(desk, "many")
    with worker(settings):
        until(lambda: lines(log), "the start of the job")
        first = queued(desk, "few")
        assert desk.job(first, "few").place == 1
        assert desk.job(running, "many").state is JobState.RUNNING


@pytest.mark.slow
def test_many_rounds_later_a_newcomer_is_not_behind(settings: Settings, desk: Desk) -> None:
    for _ in range(5):
        txid = send(settings, FINISH, client="many")
    with worker(settings):
        end_of(desk, txid, client="many")
    queued(desk, "many")
    queued(desk, "many")
    assert desk.job(queued(desk, "new"), "new").place == 2  # after one of the other's, which was there before


def test_an_urgent_job_goes_before_its_clients_others_and_before_nobody_elses(desk: Desk) -> None:
    ann = [queued(desk, "ann") for _ in range(3)]
    bob = [queued(desk, "bob") for _ in range(3)]
    before = places(desk, **{f"bob_{number}": txid for number, txid in enumerate(bob)})
    urgent = queued(desk, "ann", Priority.HIGH)
    found = places(desk, ann_urgent=urgent, **{f"ann_{number}": txid for number, txid in enumerate(ann)})
    assert sorted(found, key=lambda name: found[name] or 0) == ["ann_urgent", "ann_0", "ann_1", "ann_2"]
    after = places(desk, **{f"bob_{number}": txid for number, txid in enumerate(bob)})
    assert all((after[name] or 0) <= (before[name] or 0) for name in before)


def test_priorities_order_among_equals_by_arrival(desk: Desk) -> None:
    sent = {
        f"ann_{number}_{priority}": queued(desk, "ann", priority)
        for number, priority in enumerate(
            [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.LOW, Priority.HIGH, Priority.NORMAL]
        )
    }
    found = places(desk, **sent)
    assert sorted(found, key=lambda name: found[name] or 0) == [
        *("ann_2_high", "ann_4_high", "ann_1_normal", "ann_5_normal", "ann_0_low", "ann_3_low")
    ]


@pytest.mark.slow
def test_a_worker_takes_jobs_in_the_order_of_their_places(settings: Settings, desk: Desk) -> None:
    jobs = {send(settings, FINISH, client=client): client for client in ["many"] * 4 + ["few"] * 2}
    expected = sorted(jobs, key=lambda txid: desk.job(txid, jobs[txid]).place or 0)
    with worker(settings):
        ends = {txid: end_of(desk, txid, client=client).finished for txid, client in jobs.items()}
    assert sorted(jobs, key=lambda txid: str(ends[txid])) == expected


def test_queues_don_t_wait_for_each_other(desk: Desk) -> None:
    for _ in range(3):
        queued(desk, "ann")
    assert desk.job(queued(desk, "ann", queue="gpu"), "ann").place == 1

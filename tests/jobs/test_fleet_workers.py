"""Workers that share a PostgreSQL: the death of a machine is noticed once, and nobody is taken for dead by mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from coppice.errors import DatabaseUnavailable
from coppice.jobs import queries
from coppice.jobs.database import migrate, open_database
from coppice.jobs.desk import Desk
from coppice.jobs.heartbeat import Heartbeat, reap
from coppice.jobs.queue import Queue, migrate_queue
from coppice.jobs.tables import JobRow
from coppice.records.job import JobState
from coppice.settings import Settings
from tests.fleet.postgres import Server, postgres
from tests.jobs.job_processes import (
    DEADLINE_SECONDS,
    FINISH,
    KILL_WORKER,
    SERVICE,
    alive,
    children,
    end_of,
    hold,
    killed_at_the_end,
    lines,
    send,
    start,
    until,
    worker,
)

pytestmark = pytest.mark.slow

#: Short, so that a death is noticed within a test; long enough that a process on a busy core does not count as dead.
HEARTBEAT_SECONDS, DEAD_AFTER_SECONDS = 0.5, 4.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def settings(server: Server, tmp_path: Path) -> Iterator[Settings]:
    made = Settings(
        data_dir=tmp_path / "data",
        database_url=server.url,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        dead_after_seconds=DEAD_AFTER_SECONDS,
    )
    migrate(made)
    engine = open_database(made)
    migrate_queue(engine.url)
    yield made
    # The server is shared by the tests of this file: each begins with nobody there and nothing to do.
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE jobs, executors, dbos.workflow_status CASCADE"))
    engine.dispose()


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    opened = open_database(settings)
    yield opened
    opened.dispose()


def other_machine(settings: Settings, name: str) -> Settings:
    """The same fleet from a folder of its own; the files are where they were."""
    folder = settings.data_dir.with_name(name)
    folder.mkdir(exist_ok=True)
    (settings.data_dir / "store").mkdir(parents=True, exist_ok=True)
    (folder / "store").symlink_to(settings.data_dir / "store")
    return settings.model_copy(update={"data_dir": folder})


def known(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return {row.id for row in connection.execute(text("SELECT id FROM executors"))}


def row_of(engine: Engine, txid: str) -> JobRow:
    with Session(engine) as session:
        row = queries.job(session, txid)
        assert row is not None
        return row


def test_a_dead_machines_job_is_run_by_another_and_published_once(settings: Settings, tmp_path: Path) -> None:
    desk, log, gate = Desk(settings), tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    with worker(other_machine(settings, "a"), executor="a-cpu-0"):
        until(lambda: lines(log), "the job's start")
    # Nothing takes the place of the killed one: for the others its machine is gone.
    with worker(other_machine(settings, "b"), executor="b-cpu-0"), worker(other_machine(settings, "c"), executor="c"):
        until(lambda: len(lines(log)) == 2, "the job's second start")
        gate.touch()
        assert end_of(desk, txid).state is JobState.DONE
        assert [artifact.key for artifact in desk.job(txid, "ann").artifacts] == [f"results/{txid}/2/model.h5"]
    assert len(lines(log)) == 2


def test_what_took_the_dead_ones_place_is_not_robbed(settings: Settings, tmp_path: Path, engine: Engine) -> None:
    log = tmp_path / "log"
    send(settings, hold(log, tmp_path / "never"))
    with worker(settings, executor="a"):
        until(lambda: lines(log), "the job's start")
    with worker(settings, executor="a"):
        until(lambda: len(lines(log)) == 2, "the second start, by the next process of that name")
        assert reap(engine, Queue(engine), settings) == 0
    assert len(lines(log)) == 2


def test_the_dead_are_buried_once_and_their_jobs_given_back_once(settings: Settings, engine: Engine) -> None:
    queue, silent = Queue(engine), settings.model_copy(update={"dead_after_seconds": 0.1, "heartbeat_seconds": 0.1})
    dead, lost, alive_one = (send(settings, FINISH) for _ in range(3))
    for name in ("dead", "alive"):
        Heartbeat(engine, executor=name, queue="cpu", settings=settings).join()
    in_hand(engine, {dead: "dead", lost: "buried before", alive_one: "alive"})
    with engine.begin() as connection:
        connection.execute(text("UPDATE executors SET seen = seen - interval '1 minute' WHERE id = 'dead'"))
    assert reap(engine, queue, settings) == 2
    assert reap(engine, queue, settings) == 0
    assert {held.txid: held.executor for held in queue.held()} == {alive_one: "alive"}
    assert known(engine) == {"alive"}
    until(lambda: reap(engine, queue, silent) == 1, "the last one's silence")


def in_hand(engine: Engine, jobs: dict[str, str]) -> None:
    """Put jobs into the hands of executors, as the queue does when it hands them out."""
    taken = text("UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = :who WHERE workflow_uuid = :txid")
    with engine.begin() as connection:
        for txid, who in jobs.items():
            assert connection.execute(taken, {"who": who, "txid": txid}).rowcount == 1


def test_only_who_was_never_cut_off_may_call_others_dead(settings: Settings, server: Server, engine: Engine) -> None:
    heartbeat = Heartbeat(engine, executor="a", queue="cpu", settings=settings)
    heartbeat.join()
    heartbeat.start()
    assert not heartbeat.steady
    until(lambda: heartbeat.steady, "a heartbeat without a gap")
    server.kill()
    until(lambda: not heartbeat.steady, "the gap")
    server.start()
    back = time.monotonic()
    until(lambda: heartbeat.silence < HEARTBEAT_SECONDS, "the next sign of life")
    assert not heartbeat.steady
    until(lambda: heartbeat.steady, "a heartbeat without a gap")
    assert time.monotonic() - back >= DEAD_AFTER_SECONDS
    heartbeat.leave()
    assert known(engine) == set()


def test_who_was_buried_alive_hears_of_it(settings: Settings, engine: Engine) -> None:
    heartbeat = Heartbeat(engine, executor="a", queue="cpu", settings=settings)
    heartbeat.join()
    heartbeat.start()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM executors"))
    until(lambda: heartbeat.silence == float("inf"), "the news")
    assert not heartbeat.steady


def test_a_database_that_is_away_for_a_moment_costs_no_start(
    settings: Settings, server: Server, engine: Engine, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"dead_after_seconds": 60.0})
    log, gate = tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    with worker(settings) as process:
        until(lambda: lines(log), "the job's start")
        server.kill()
        gate.touch()  # it ends while there is nowhere to note it
        until(lambda: not alive(int(lines(log)[0])), "the end of the job's process")
        server.start()
        assert end_of(Desk(settings), txid).state is JobState.DONE
        assert process.poll() is None
        after = send(settings, FINISH)
        assert end_of(Desk(settings), after).state is JobState.DONE
    assert (len(lines(log)), row_of(engine, txid).attempts) == (1, 1)


def test_who_is_cut_off_too_long_ends_itself_and_the_job_is_not_blamed(
    settings: Settings, server: Server, engine: Engine, tmp_path: Path
) -> None:
    # One start only: a second would fail the job if the first were held against it.
    settings = settings.model_copy(update={"max_attempts": 1, "workers": 1})
    log, gate = tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    with killed_at_the_end(start(settings, SERVICE)) as service:
        (first,) = until(lambda: lines(log), "the job's start")
        before = set(children(service.pid))
        server.kill()
        until(lambda: not alive(int(first)), "the end of the cut-off worker's job")
        server.start()
        until(lambda: len(lines(log)) == 2, "the job's second start")
        assert len(before & set(children(service.pid))) == 1  # the idle one
        gate.touch()
        assert end_of(Desk(settings), txid).state is JobState.DONE
    assert (row_of(engine, txid).attempts, row_of(engine, txid).handed_back) == (2, 1)


def test_a_stopped_process_that_comes_back_finds_itself_dead(settings: Settings, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    with ExitStack() as stack:
        first = stack.enter_context(worker(other_machine(settings, "a"), executor="a"))
        until(lambda: lines(log), "the job's start")
        os.kill(first.pid, signal.SIGSTOP)
        stack.enter_context(worker(other_machine(settings, "b"), executor="b"))
        until(lambda: len(lines(log)) == 2, "the job's second start")
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(60) == DatabaseUnavailable.exit_code
        gate.touch()
        job = end_of(Desk(settings), txid)
    assert [artifact.key for artifact in job.artifacts] == [f"results/{txid}/2/model.h5"]


def test_a_drained_worker_ends_its_job_and_gives_up_what_takes_too_long(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"drain_seconds": 60, "max_attempts": 1})
    log, gate, long = tmp_path / "log", tmp_path / "gate", tmp_path / "long"
    desk, txid = Desk(settings), send(settings, hold(log, gate))
    with worker(settings, executor="a") as process:
        until(lambda: lines(log), "the job's start")
        process.send_signal(signal.SIGTERM)
        waiting = send(settings, hold(long, tmp_path / "end"))
        gate.touch()
        assert process.wait(DEADLINE_SECONDS) == 0
        assert desk.job(txid, "ann").state is JobState.DONE
        assert desk.job(waiting, "ann").state is JobState.QUEUED
        assert known(engine) == set()
    with worker(settings, executor="b") as process:
        until(lambda: lines(long), "the other job's start")
        # Told a second time, it waits no longer, and another machine can have the job at once.
        until(lambda: told_again(process), "the end of the worker")
        assert process.returncode == 0
        assert desk.job(waiting, "ann").state is JobState.QUEUED
    (tmp_path / "end").touch()
    with worker(settings, executor="c"):
        assert end_of(desk, waiting).state is JobState.DONE
    assert row_of(engine, waiting).handed_back == 1


def told_again(process: subprocess.Popen[str]) -> bool:
    """Send SIGTERM, and say whether the process has ended. Of two that come at once a process gets one."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return process.poll() is not None


def test_a_job_that_kills_its_worker_three_times_fails_here_too(settings: Settings) -> None:
    poison, other = send(settings, KILL_WORKER), send(settings, FINISH, client="bob")
    with killed_at_the_end(start(settings, SERVICE)):
        failure = end_of(Desk(settings), poison).failure
        assert failure is not None
        assert (failure.code, "3 times" in failure.message) == ("worker_died", True)
        assert end_of(Desk(settings), other, client="bob").state is JobState.DONE

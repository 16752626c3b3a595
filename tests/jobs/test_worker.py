"""A real worker process and what kills it: every job ends, once."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from coppice.jobs.desk import Desk
from coppice.records.job import JobState
from coppice.records.report import Progress
from coppice.settings import Settings
from tests.jobs.job_processes import (
    CRASH,
    FAULT,
    FINISH,
    alive,
    bytes_of,
    end_of,
    hold,
    lines,
    send,
    start,
    stop,
    until,
    worker,
)

pytestmark = pytest.mark.slow  # processes that start, die and start again


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def test_jobs_end_with_their_result_or_their_reason(settings: Settings) -> None:
    desk = Desk(settings)
    finished, crashed, fault = (send(settings, script) for script in (FINISH, CRASH, FAULT))
    with worker(settings):
        done = end_of(desk, finished)
        assert (done.state, done.summary) == (JobState.DONE, "one layer")
        assert done.finished is not None
        assert done.finished >= done.submitted
        (model,) = done.artifacts
        assert bytes_of(settings, model.key) == b"pruned"
        assert re.fullmatch(r"tmp[a-z0-9]{8}\.h5", str(done.filename))  # as in the documents: tmpqpj73q22.pt

        failed = end_of(desk, crashed)
        assert failed.state is JobState.FAILED
        assert failed.failure is not None
        assert (failed.failure.code, failed.failure.field) == ("job_crashed", "model")

        ours = end_of(desk, fault).failure
        assert ours is not None
        assert ours.code == "internal_error"
        assert "not progress" not in ours.message
        assert "Reference" in ours.message
    left = [path for path in settings.data_dir.rglob("*") if path.is_file() and path.parts[-4:-3] == ("uploads",)]
    assert left == []


def test_a_running_job_shows_its_progress_and_its_place_before_that(settings: Settings, tmp_path: Path) -> None:
    desk, log, gate = Desk(settings), tmp_path / "log", tmp_path / "gate"
    first, second, third = (send(settings, script) for script in (hold(log, gate), FINISH, FINISH))
    assert [desk.job(txid, "ann").place for txid in (first, second, third)] == [1, 2, 3]
    with worker(settings):
        progress = until(lambda: desk.job(first, "ann").progress, "progress")
        assert progress == Progress(step="score", fraction=0.5)
        assert [desk.job(txid, "ann").state for txid in (first, third)] == [JobState.RUNNING, JobState.QUEUED]
        assert [desk.job(txid, "ann").place for txid in (second, third)] == [1, 2]
        gate.touch()
        assert end_of(desk, third).state is JobState.DONE


def test_a_job_whose_worker_is_killed_runs_again_and_is_published_once(settings: Settings, tmp_path: Path) -> None:
    desk, log, gate = Desk(settings), tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    with worker(settings):
        (first,) = until(lambda: lines(log), "the job's start")
    until(lambda: not alive(int(first)), "the end of the killed worker's job")
    with worker(settings):
        until(lambda: len(lines(log)) == 2, "the job's second start")
        gate.touch()
        assert end_of(desk, txid).state is JobState.DONE
    assert [artifact.key for artifact in desk.job(txid, "ann").artifacts] == [f"results/{txid}/2/model.h5"]


@pytest.mark.slow
def test_stopping_the_service_is_not_held_against_a_job(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", max_attempts=1)
    desk, log, gate = Desk(settings), tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    for count in (1, 2):  # once more than a job may kill its worker
        with worker(settings) as process:
            until(lambda: len(lines(log)) == count, "the job's start")  # noqa: B023
            assert stop(process, signal.SIGTERM) == 0
        assert not alive(int(lines(log)[-1]))
    gate.touch()
    with worker(settings):
        assert end_of(desk, txid).state is JobState.DONE


def test_a_cancelled_job_is_killed_and_the_next_one_runs(settings: Settings, tmp_path: Path) -> None:
    desk, log = Desk(settings), tmp_path / "log"
    running, queued, after = (send(settings, script) for script in (hold(log, tmp_path / "never"), FINISH, FINISH))
    with worker(settings):
        (pid,) = until(lambda: lines(log), "the job's start")
        desk.cancel(queued, "ann")
        desk.cancel(running, "ann")
        cancelled = [desk.job(txid, "ann") for txid in (running, queued)]
        assert {job.state for job in cancelled} == {JobState.CANCELLED}
        assert all(job.finished for job in cancelled)
        assert end_of(desk, after).state is JobState.DONE
        assert not alive(int(pid))
    desk.cancel(after, "ann")
    assert desk.job(after, "ann").state is JobState.DONE


@pytest.mark.slow
def test_results_go_when_their_time_is_over_and_the_row_stays(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", retention_seconds=1)
    desk = Desk(settings)
    txid, failing = send(settings, FINISH), send(settings, CRASH)
    with worker(settings):
        until(lambda: desk.job(txid, "ann").state is JobState.EXPIRED, "the expiry")
        assert desk.job(txid, "ann").artifacts == ()
        until(lambda: not list(settings.data_dir.glob("store/*/*")), "the sweep")
    assert desk.job(failing, "ann").state is JobState.FAILED


@pytest.mark.slow
def test_two_workers_share_the_queue_and_a_slot_is_held_by_one(settings: Settings, tmp_path: Path) -> None:
    desk, gate = Desk(settings), tmp_path / "gate"
    logs = [tmp_path / "one", tmp_path / "two"]
    txids = [send(settings, hold(log, gate), client=log.name) for log in logs]
    with worker(settings, slot=0), worker(settings, slot=1):
        until(lambda: all(map(lines, logs)), "both jobs to run at once")
        with worker(settings, slot=1) as intruder:
            assert intruder.wait(60) != 0
        gate.touch()
        for txid, log in zip(txids, logs, strict=True):
            assert end_of(desk, txid, client=log.name).state is JobState.DONE


@pytest.mark.slow
def test_an_accepted_job_outlives_the_process_that_accepted_it(settings: Settings) -> None:
    accepting = start(
        settings,
        "import sys; from coppice.settings import load; from tests.jobs.job_processes import send, FINISH\n"
        "print(send(load(), FINISH), flush=True); sys.stdin.read()",
    )
    assert accepting.stdout is not None
    txid = accepting.stdout.readline().strip()
    os.kill(accepting.pid, signal.SIGKILL)
    stop(accepting, signal.SIGKILL)
    with worker(settings):
        assert end_of(Desk(settings), txid).state is JobState.DONE

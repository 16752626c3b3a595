"""The processes of a service under kill -9: nothing survives its parent, and no accepted job is lost."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from coppice.errors import IsolationUnavailable, ParameterInvalid, ServiceUnavailable
from coppice.jobs.desk import Desk
from coppice.jobs.locks import hold as hold_lock
from coppice.jobs.supervisor import seats_of, serve, work
from coppice.records.job import JobState
from coppice.settings import Settings
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
    stop,
    until,
)

SERVE = "from coppice.jobs.supervisor import serve; from coppice.settings import load; serve(load())"

#: Sends jobs and prints what it was told was accepted, until it is killed.
ACCEPT = """
import sys
from coppice.settings import load
from tests.jobs.job_processes import send
while True:
    print(send(load(), sys.argv[1]), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, tls=False, isolation="none", workers=1, warm=0)


def everything_under(pid: int) -> list[int]:
    return [pid, *(below for child in children(pid) for below in everything_under(child))]


@pytest.mark.slow
def test_nothing_survives_the_kill_of_the_supervisor_and_the_next_one_ends_the_job(
    settings: Settings, tmp_path: Path
) -> None:
    desk, log, gate = Desk(settings), tmp_path / "log", tmp_path / "gate"
    txid = send(settings, hold(log, gate))
    with killed_at_the_end(start(settings, SERVICE)) as service:
        until(lambda: lines(log), "the job's start")
        processes = everything_under(service.pid)
        assert len(processes) == 4  # itself, the idle one, the worker, the job
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        until(lambda: not any(map(alive, processes)), "everything to die")
    with killed_at_the_end(start(settings, SERVICE)):
        until(lambda: len(lines(log)) == 2, "the job's second start")
        gate.touch()
        assert end_of(desk, txid).state is JobState.DONE


@pytest.mark.slow
def test_a_killed_child_is_replaced_and_a_stop_ends_all(settings: Settings, tmp_path: Path) -> None:
    txid = send(settings, hold(tmp_path / "log", tmp_path / "never"))
    with killed_at_the_end(start(settings, SERVICE)) as service:
        first = until(lambda: children(service.pid) if len(lines(tmp_path / "log")) == 1 else [], "the job's start")
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(lines(tmp_path / "log")) == 2, "the job's second start")
        second = children(service.pid)
        assert len(second) == len(first)
        assert not set(first) & set(second)
        processes = everything_under(service.pid)
        assert stop(service, signal.SIGTERM) == 0
        assert not any(map(alive, processes))
    assert Desk(settings).job(txid, "ann").state is JobState.RUNNING


@pytest.mark.slow
def test_a_job_that_kills_its_worker_three_times_fails_and_the_others_run(settings: Settings) -> None:
    poison, other = send(settings, KILL_WORKER), send(settings, FINISH)
    with killed_at_the_end(start(settings, SERVICE)):
        failure = end_of(Desk(settings), poison).failure
        assert failure is not None
        assert failure.code == "worker_died"
        assert "3 times" in failure.message
        assert end_of(Desk(settings), other).state is JobState.DONE


@pytest.mark.slow
def test_fewer_workers_take_up_the_jobs_of_more(settings: Settings, tmp_path: Path) -> None:
    desk, gate = Desk(settings), tmp_path / "gate"
    logs = {client: tmp_path / client for client in ("ann", "bob")}
    txids = {client: send(settings, hold(log, gate), client=client) for client, log in logs.items()}
    with killed_at_the_end(start(settings.model_copy(update={"workers": 2}), SERVICE)):
        until(lambda: all(map(lines, logs.values())), "both jobs to run")
    gate.touch()
    with killed_at_the_end(start(settings, SERVE_WITHOUT_HTTP)):
        for client, txid in txids.items():
            assert end_of(desk, txid, client=client).state is JobState.DONE


SERVE_WITHOUT_HTTP = f"""
from coppice.jobs import database, supervisor
from coppice.settings import load
supervisor.take_back(database.open_database(load()), supervisor.seats_of(load()))
{SERVICE}
"""


@pytest.mark.slow
def test_killed_at_random_moments_every_accepted_job_ends_once(settings: Settings, tmp_path: Path) -> None:
    chance = random.Random(2026)
    settings = settings.model_copy(update={"workers": 2, "max_attempts": 100})
    log, gate = tmp_path / "log", tmp_path / "gate"
    gate.touch()
    accepted: list[str] = []
    with killed_at_the_end(start(settings, ACCEPT, hold(log, gate))) as accepting:
        assert accepting.stdin is not None
        assert accepting.stdout is not None
        for _ in range(12):
            accepted.append(accepting.stdout.readline().strip())
            accepting.stdin.write("\n")
            accepting.stdin.flush()
        # In the middle of the next one: what it has not told of may be there or not.
        os.kill(accepting.pid, signal.SIGKILL)
    for kills in range(2):
        with killed_at_the_end(start(settings, SERVICE)) as service:
            for start_number in (1, 2):
                until(lambda: len(lines(log)) >= 4 * kills + start_number, "a job's start")  # noqa: B023
                os.kill(chance.choice(everything_under(service.pid)[2:]), signal.SIGKILL)
    with killed_at_the_end(start(settings, SERVICE)):
        jobs = [end_of(Desk(settings), txid) for txid in accepted]
    assert {job.state for job in jobs} <= {JobState.DONE, JobState.FAILED}
    # A job fails here for one reason only: its own process was the one that was killed.
    assert {job.failure.code for job in jobs if job.failure} <= {"job_crashed"}
    assert len([job for job in jobs if job.state is JobState.DONE]) >= len(jobs) - 4
    assert all(len(job.artifacts) == 1 for job in jobs if job.state is JobState.DONE)


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return bytes(answer.read())


def listening_port(service: subprocess.Popen[str]) -> int:
    assert service.stdout is not None
    line = next(line for line in service.stdout if "listens on" in line)
    return int(line.split("http://127.0.0.1:")[1].split()[0])


@pytest.mark.slow
def test_the_real_service_says_what_it_is_and_answers_through_a_kill(settings: Settings) -> None:
    with killed_at_the_end(start(settings, SERVE)) as service:
        assert service.stdout is not None
        said = "".join(service.stdout.readline() for _ in range(7))
        assert str(settings.data_dir) in said
        assert "none (" in said
        assert "API keys   not needed" in said
        port = listening_port(service)
        assert b"ok" in get(port, "/healthz")
        http = next(
            pid for pid in children(service.pid) if b"coppice.http" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(http, signal.SIGKILL)
        until(lambda: not alive(http), "the end of the HTTP process")
        assert b"ok" in get(port, "/healthz")  # it waits for the new process; nothing is refused
        with killed_at_the_end(start(settings, SERVE)) as second:
            assert second.wait(60) != 0, "two services must not share a data folder"
        assert stop(service, signal.SIGTERM) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_a_child_that_refuses_to_run_ends_the_service(settings: Settings) -> None:
    code = f"""
import os, sys
from coppice.jobs.processes import Program, keep_running
keep_running([
    Program(name="idle", command=(sys.executable, "-c", "import time; time.sleep(3600)")),
    Program(name="worker 0", command=(sys.executable, "-c", "raise SystemExit({IsolationUnavailable.exit_code})")),
], dict(os.environ))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "The worker 0 can't run here; it says why above.\n" in ran.stderr


@pytest.mark.slow
def test_a_service_that_is_stopped_gives_a_job_its_time_and_stops_at_once_when_told_again(
    settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"drain_seconds": 600})
    desk, gate, logs = Desk(settings), tmp_path / "gate", [tmp_path / "one", tmp_path / "two"]
    first = send(settings, hold(logs[0], gate))
    with killed_at_the_end(start(settings, SERVICE)) as service:
        until(lambda: lines(logs[0]), "the job's start")
        service.send_signal(signal.SIGTERM)
        until(lambda: len(children(service.pid)) == 1, "the end of the idle process")
        gate.touch()
        assert service.wait(DEADLINE_SECONDS) == 0
    assert desk.job(first, "ann").state is JobState.DONE
    second = send(settings, hold(logs[1], tmp_path / "never"))
    with killed_at_the_end(start(settings, SERVICE)) as service:
        (pid,) = until(lambda: lines(logs[1]), "the job's start")
        service.send_signal(signal.SIGTERM)
        until(lambda: len(children(service.pid)) == 1, "the end of the idle process")
        assert alive(int(pid))
        assert stop(service, signal.SIGTERM) == 0
        assert not alive(int(pid))
    assert desk.job(second, "ann").state is JobState.RUNNING  # the next service has it in hand again


def test_workers_alone_need_something_to_do_and_a_folder_of_their_own(settings: Settings) -> None:
    with pytest.raises(ParameterInvalid, match="--workers"):
        work(settings.model_copy(update={"workers": 0}))
    with hold_lock(settings.data_dir / "work.lock", "it"), pytest.raises(ServiceUnavailable, match="--data"):
        work(settings)


def test_the_names_of_a_fleets_workers_are_never_used_again(settings: Settings) -> None:
    fleet = settings.model_copy(update={"database_url": "postgresql://h/n", "queues": "cpu,gpu", "workers": 2})
    starts = [{seat.executor for seat in seats_of(fleet)} for _ in range(2)]
    assert [len(names) for names in starts] == [4, 4]
    assert not starts[0] & starts[1]
    alone = [[(seat.queue, seat.slot, seat.executor) for seat in seats_of(settings)] for _ in range(2)]
    assert alone[0] == alone[1] == [("cpu", 0, "cpu-0")]


def test_unprotected_jobs_are_for_this_machine_only(settings: Settings) -> None:
    with pytest.raises(ParameterInvalid, match=r"--host 127\.0\.0\.1"):
        serve(settings.model_copy(update={"host": "0.0.0.0"}))
    assert not settings.data_dir.exists()


def test_a_port_that_is_taken_is_told_before_anything_starts(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServiceUnavailable, match="--port"):
        serve(settings.model_copy(update={"port": taken.getsockname()[1]}))

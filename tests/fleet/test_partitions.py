"""A service on several hosts, and cables that are pulled in the middle of jobs: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from coppice.jobs.database import open_database
from coppice.jobs.queue import Queue
from tests.fleet.chaos import check_books, check_end, check_files, count_publications, kept_running
from tests.fleet.daemon import Daemon, descendants, free_port
from tests.fleet.fleet import (
    DEAD_AFTER_SECONDS,
    Client,
    Fleet,
    migrate,
    processes,
    program,
    short_lived,
    started,
    until,
)
from tests.fleet.hosts import Host, Network, network
from tests.fleet.postgres import postgres
from tests.fleet.s3 import s3
from tests.hostile.case import QUERY, pytorch, source
from tests.jobs.job_processes import alive

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """A fleet, each part of it on a host of its own."""

    fleet: Fleet
    lan: Network
    queue: Queue

    @property
    def database(self) -> Host:
        return self.lan.hosts["database"]

    def holder(self, txid: str) -> int | None:
        """Which worker's host runs a job: its process has the name that the queue gave the job to."""
        executors = [held.executor for held in self.queue.held() if held.txid == txid]
        for number, worker in enumerate(self.fleet.workers):
            if executors and processes(worker, executors[0]):
                return number
        return None


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with ExitStack() as stack:
        lan = stack.enter_context(network())
        api, database, storage = lan.host("api"), lan.host("database"), lan.host("storage")
        kept = stack.enter_context(postgres(tmp_path, host=database.address, inside=database.inside))
        files = stack.enter_context(s3(tmp_path, host=storage.address, inside=storage.inside))
        settings = short_lived(
            tmp_path, database_url=kept.url, storage_url=files.url, host=api.address, port=free_port()
        ).model_copy(update={"keys_required": False})
        migrate(settings, files.environment)
        of_api = settings.model_copy(update={"data_dir": tmp_path / "api", "workers": 0})
        workers = []
        for number in range(2):
            host, own = (
                lan.host(f"work-{number}"),
                settings.model_copy(update={"data_dir": tmp_path / f"work-{number}"}),
            )
            workers.append(program(("work",), own, files.environment, inside=host.inside))
        fleet = Fleet(
            folder=tmp_path,
            settings=settings,
            apis={
                f"http://{api.address}:{settings.port}": program(
                    ("serve",), of_api, files.environment, inside=api.inside
                )
            },
            workers=workers,
            database=kept,
            storage=files,
        )
        with started(fleet.programs):
            yield Hosts(fleet=fleet, lan=lan, queue=Queue(open_database(settings)))


def lasting(seconds: int) -> dict[str, tuple[str, bytes]]:
    """An upload whose job takes that long."""
    return dict(pytorch(class_def=source(top=f"import time; time.sleep({seconds})")))


def under(daemon: Daemon) -> Sequence[int]:
    return [] if daemon.process is None else descendants(daemon.process.pid)


def test_a_worker_that_is_cut_off_stops_and_another_takes_its_job(hosts: Hosts) -> None:
    count_publications(hosts.fleet)
    client = Client(urls=[*hosts.fleet.apis])
    with kept_running(hosts.fleet.programs):
        txid = client.submit("pt_prune", QUERY, lasting(8))
        first = until(lambda: None if (found := hosts.holder(txid)) is None else (found,), "the job's start")[0]
        cut, before = hosts.lan.hosts[f"work-{first}"], under(hosts.fleet.workers[first])
        cut.cut()
        until(lambda: not any(map(alive, before)), "the worker that is cut off to stop by itself")
        check_end(client, txid)
        cut.join()
        both = [client.submit("pt_prune", QUERY, lasting(8)) for _ in range(2)]
        until(lambda: {hosts.holder(txid) for txid in both} == {0, 1}, "both hosts to work")
        for other in both:
            check_end(client, other)
        assert check_books(hosts.fleet, [txid, *both]) == 3
        check_files(hosts.fleet)


def test_a_database_that_is_cut_off_loses_nothing(hosts: Hosts) -> None:
    count_publications(hosts.fleet)
    client, txids = Client(urls=[*hosts.fleet.apis]), []
    with kept_running(hosts.fleet.programs):
        for outage in (DEAD_AFTER_SECONDS / 3, DEAD_AFTER_SECONDS * 2):
            both = [client.submit("pt_prune", QUERY, lasting(4)) for _ in range(2)]
            until(lambda: {hosts.holder(txid) for txid in both} == {0, 1}, "both hosts to work")  # noqa: B023
            hosts.database.cut()
            time.sleep(outage)  # what the test is about
            hosts.database.join()
            for txid in both:
                check_end(client, txid)
            txids += both
        assert check_books(hosts.fleet, txids) == len(txids)
        check_files(hosts.fleet)

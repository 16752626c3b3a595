"""Kills at random moments: every accepted job ends, done or with a reason, and each result is published once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.chaos import check_books, check_files, count_publications, scratch, send_through
from tests.fleet.fleet import Client, embedded, fleet, until
from tests.serving import processes

pytestmark = pytest.mark.slow

#: The database goes down twice, everything else once or more.
FLEET_BLOWS = ("worker", "machine", "machine", "api", "both", "supervisor", "postgres", "postgres", "s3")
EMBEDDED_BLOWS = ("worker", "worker", "http", "both", "supervisor")


@pytest.mark.timeout(1200)
def test_a_fleet_loses_nothing_and_publishes_nothing_twice(tmp_path: Path) -> None:
    with fleet(tmp_path) as running:
        count_publications(running)
        clients = [Client(urls=[*running.apis]) for _ in range(8)]
        txids = send_through(running, clients, 64, FLEET_BLOWS, seed=6)
        assert check_books(running, txids) >= 58
        check_files(running)
        until(lambda: not scratch(running), "the workers' own folders to be empty")
    assert processes(str(tmp_path)) == set()


@pytest.mark.timeout(1200)
def test_one_machine_loses_nothing_and_publishes_nothing_twice(tmp_path: Path) -> None:
    with embedded(tmp_path) as running:
        count_publications(running)
        clients = [Client(urls=[*running.apis]) for _ in range(8)]
        txids = send_through(running, clients, 24, EMBEDDED_BLOWS, seed=7)
        assert check_books(running, txids) >= 20
        check_files(running)
        until(lambda: not scratch(running), "the workers' own folders to be empty")
    until(lambda: not processes(str(tmp_path)), "the processes to be gone")

"""Ten thousand jobs that wait: what clients and workers do costs about as much as with none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest

from coppice.jobs.desk import Desk
from coppice.records.job import JobState, Wanted
from coppice.records.terms import Priority, Terms
from coppice.settings import Settings
from tests.fleet.effort import counted
from tests.fleet.sending import crowd, send_all
from tests.jobs.job_processes import FINISH, REQUEST, lines, until, worker

pytestmark = pytest.mark.slow

CROWD, EACH = [f"client {number}" for number in range(10)], 1000
WAITING = len(CROWD) * EACH
TIMES = 9

#: By database, what `efforts` counts: for each job that waits, when a call counts those before its own; and for each of
#: the client's own, when an urgent one goes before them all. Nobody looks at pairs of jobs.
TO_COUNT = {"sqlite": 50, "postgresql": 10}
TO_MOVE = {"sqlite": 500, "postgresql": 100}


def efforts(desk: Desk, client: str, since: Callable[[], int]) -> Mapping[str, float]:
    """What the database does for each thing that a client does, the median."""
    waiting = []

    def sent(priority: Priority = Priority.NORMAL) -> None:
        txid = str(uuid4())
        waiting.append(txid)
        desk.submit(txid=txid, client=client, request=REQUEST, uploads=[], terms=Terms(priority=priority))

    def effort(call: Callable[[int], object], number: int) -> int:
        since()
        call(number)
        return since()

    for _ in range(TIMES):
        sent()
    calls: Mapping[str, Callable[[int], object]] = {
        "submit": lambda _: sent(),
        "status": lambda number: desk.job(waiting[number], client).place,
        "list": lambda _: desk.jobs(client, Wanted(limit=100)),
        "list those that wait": lambda _: desk.jobs(client, Wanted(limit=100, state=JobState.QUEUED)),
        "cancel": lambda number: desk.cancel(waiting[number], client),
        "submit an urgent one": lambda _: sent(Priority.HIGH),
    }
    found = {name: median(effort(call, number) for number in range(TIMES)) for name, call in calls.items()}
    for txid in waiting:
        desk.cancel(txid, client)
    return found


def test_ten_thousand_jobs_that_wait_are_in_no_clients_way(settings: Settings) -> None:
    database = "postgresql" if settings.fleet else "sqlite"
    with counted(settings) as since:
        desk = Desk(settings)
        before = efforts(desk, "ann", since)
        crowd(settings, CROWD, EACH)
        after = efforts(desk, CROWD[0], since)
    allowed = dict.fromkeys(after, TO_COUNT[database] * WAITING)
    allowed["submit an urgent one"] += TO_MOVE[database] * EACH
    assert {call for call in after if after[call] - before[call] > allowed[call]} == set(), (before, after)


# A worker is another process, and only PostgreSQL counts for all.
@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_ten_thousand_jobs_that_wait_are_in_no_workers_way(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def effort() -> float:
        send_all(settings, "ann", [f"open({str(log)!r}, 'a').write('ran\\n')\n{FINISH}"] * TIMES)
        ran = len(lines(log))
        since()
        with worker(settings):
            until(lambda: len(lines(log)) == ran + TIMES, "the jobs to run")
        return since() / TIMES

    with counted(settings) as since:
        alone = effort()
        crowd(settings, CROWD, EACH)
        among = effort()
    assert among < 3 * alone, (alone, among)

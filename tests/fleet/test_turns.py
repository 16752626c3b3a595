"""Whose job is next, through a real worker: nobody waits behind another's hundred jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice.settings import Settings
from tests.fleet.sending import send_all
from tests.jobs.job_processes import FINISH, hold, lines, until, worker

pytestmark = pytest.mark.slow


def test_a_hundred_jobs_of_one_client_delay_another_by_one_job_at_most(settings: Settings, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"

    def named(client: str) -> str:
        return f"with open({str(log)!r}, 'a') as log: log.write('{client}\\n')\n{FINISH}"

    send_all(settings, "big", [hold(tmp_path / "first", gate), *[named("big")] * 99])
    with worker(settings):
        until(lambda: lines(tmp_path / "first"), "the first of the hundred to run")
        send_all(settings, "small", [named("small")] * 2)
        gate.touch()
        order = until(lambda: seen if (seen := lines(log)).count("small") == 2 else None, "the small client's jobs")
    # The one that ran when they came is not in the log.
    assert order.index("small") <= 1
    assert order.count("big") <= 3

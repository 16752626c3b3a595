"""Every process of a fleet started again, one after the other, while clients send: none of them notices."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from coppice.jobs.database import open_database
from tests.fleet.chaos import check_books, check_end, count_publications
from tests.fleet.fleet import Client, fleet
from tests.hostile.case import QUERY, pytorch, source

pytestmark = pytest.mark.slow

LASTING = dict(pytorch(class_def=source(top="import time; time.sleep(2)")))


@pytest.mark.timeout(900)
def test_a_rolling_restart_fails_no_call_and_no_job(tmp_path: Path) -> None:
    # One start for each job: one that is stopped in the middle must not count.
    with fleet(tmp_path, max_attempts=1, drain_seconds=1, dead_after_seconds=30) as running:
        count_publications(running)
        over = threading.Event()

        def send() -> list[str]:
            client, txids = Client(urls=[*running.apis], tries=2), []
            while not over.is_set():
                txids.append(client.submit("pt_prune", QUERY, LASTING))
                client.status(txids[-1])
                over.wait(3)  # as much as the workers can take
            return txids

        with ThreadPoolExecutor(2) as sending:
            sent = [sending.submit(send) for _ in range(2)]
            try:
                for daemon in running.programs:
                    daemon.stop()
                    assert daemon.process is not None
                    assert daemon.process.returncode == 0
                    daemon.start()
            finally:
                over.set()
            txids = [txid for future in sent for txid in future.result()]
        client = Client(urls=[*running.apis])
        for txid in txids:
            check_end(client, txid)
        assert check_books(running, txids) == len(txids)
        with open_database(running.settings).connect() as connection:
            counted = sa.text("SELECT sum(attempts), sum(handed_back) FROM jobs")
            attempts, handed_back = connection.execute(counted).one()
        assert attempts - handed_back == len(txids)
        assert handed_back > 0, "no worker was stopped in the middle of a job"

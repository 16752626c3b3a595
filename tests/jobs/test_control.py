"""Control of real jobs in the real sandbox of a real service: stopped at once, deleted, ended by their own limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from coppice.settings import Settings
from tests.hostile.case import QUERY, running
from tests.jobs.job_processes import until
from tests.serving import Service, processes, serving

pytestmark = pytest.mark.slow

QUEUED, RUNNING, FAILED, CANCELLED = 1, 2, -1, -2
#: The issue's bound for the end of a cancelled job's processes, and what a machine that is shared may add to it.
STOPPED_SECONDS, SLACK_SECONDS = 2.0, 3.0

#: A model that is never built.
endless = running(top="import time", constructor="time.sleep(600)")


def test_jobs_are_stopped_deleted_and_limited_while_they_run(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, tls=False, warm=0)
    with serving(settings) as service:
        before = processes(service.token)
        first, second, third = (submit(service) for _ in range(3))
        fourth = submit(service, time_limit="2")
        boxed = in_the_box(service, first, before)

        assert service.client.post("/api/cancel", params={"txid": second}).json()["status"] == CANCELLED
        assert service.client.post("/api/cancel", params={"txid": first}).json()["status"] == CANCELLED
        dead(boxed)
        assert service.status(first)["status"] == service.status(second)["status"] == CANCELLED

        boxed = in_the_box(service, third, before)
        assert service.client.delete("/api/jobs", params={"txid": third}).status_code == 200
        dead(boxed)
        assert service.client.get("/api/status/", params={"txid": third}).status_code == 404
        stored = settings.data_dir / "store"
        assert not list(stored.glob(f"*/{third}"))

        ended = service.client.get("/api/status/", params={"txid": fourth, "wait": "60"}).json()
        assert (ended["status"], ended["code"]) == (FAILED, "time_limit")
        assert "2 s" in ended["message"]
        left = service.client.get("/api/jobs").json()["jobs"]
        assert [(job["txid"], job["state"]) for job in left] == [
            (fourth, "failed"),
            (second, "cancelled"),
            (first, "cancelled"),
        ]


def submit(service: Service, **terms: str) -> str:
    answer = service.post("pt_prune", {**QUERY, **terms}, endless())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["txid"])


def in_the_box(service: Service, txid: str, before: set[int]) -> set[int]:
    """The processes of a job that runs the user's code by now."""

    def look() -> set[int]:
        if service.status(txid).get("progress") is None:
            return set()
        return processes(service.token) - before

    return until(look, "the job to run")


def dead(boxed: set[int]) -> None:
    """Wait until none of the processes is there, for as long as a cancelled job may go on."""
    begun = time.monotonic()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in boxed), "the job's processes to end")
    assert time.monotonic() - begun < STOPPED_SECONDS + SLACK_SECONDS

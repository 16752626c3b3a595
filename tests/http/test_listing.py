"""`jobs` and `delete`: a client's own jobs, page by page, and forgetting one with all its files."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from coppice.jobs import queries
from coppice.jobs.attempt import Tools, attempt
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.jobs.queue import JobFailedError, Queue
from coppice.settings import Settings
from coppice.storage import Storage
from tests.http.service import Client, files_under, served
from tests.jobs.job_processes import CRASH, FINISH, ScriptRunner, send


def submitted(client: Client, call: str = "tf_prune", **query: str) -> str:
    file = ("net.onnx" if call == "inspect" else "net.h5", b"model")
    asked = {"percent": "0.4", **query} if call == "tf_prune" else query
    answer = client.post(f"/api/{call}", params=asked, files={"model": file})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["txid"])


def jobs(client: Client, **query: str) -> list[dict[str, Any]]:
    answer = client.get("/api/jobs", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["jobs"]
    return found


def txids(client: Client, **query: str) -> list[str]:
    return [job["txid"] for job in jobs(client, **query)]


def ran(settings: Settings, script: str) -> str:
    """A job of the anonymous client that has ended as its script says."""
    folder = settings.data_dir / "work"
    folder.mkdir(exist_ok=True, parents=True)
    txid, engine = send(settings, script, client="anonymous"), open_database(settings)
    tools = Tools(settings=settings, engine=engine, storage=Storage(settings), runner=ScriptRunner(), folder=folder)
    try:
        asyncio.run(attempt(tools, txid))
    except JobFailedError:
        assert script == CRASH
    return txid


def test_the_pages_together_are_all_jobs_newest_first(settings: Settings) -> None:
    client = served(settings)
    sent = [submitted(client) for _ in range(5)]
    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("/api/jobs", params={"limit": "2", **after}).json()
        pages.append([job["txid"] for job in page["jobs"]])
        submitted(client, priority="high")  # what comes meanwhile moves nothing
        if "next" not in page:
            break
        after = {"after": page["next"]}
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [txid for page in pages for txid in page] == sent[::-1]


def test_a_job_in_the_list_says_what_status_says(settings: Settings) -> None:
    client = served(settings)
    done, failed = ran(settings, FINISH), ran(settings, CRASH)
    queued = submitted(client, priority="low")
    cancelled = submitted(client)
    client.post("/api/cancel", params={"txid": cancelled})
    listed = {job["txid"]: job for job in jobs(client)}
    for txid, state in ((done, "done"), (failed, "failed"), (queued, "queued"), (cancelled, "cancelled")):
        status = client.get("/api/status/", params={"txid": txid}).json()
        shown = listed[txid]
        assert (shown["state"], shown["call"]) == (state, "tf_prune")
        assert (shown["status"], shown.get("filename"), shown.get("code")) == (
            status["status"],
            status.get("filename"),
            status.get("code"),
        )
        assert ("finished" in shown) == (txid != queued)
    assert listed[failed]["code"] == "job_crashed"
    assert (listed[queued]["stored_bytes"], listed[queued]["queue"], listed[queued]["priority"]) == (5, "cpu", "low")


def test_one_job_is_found_with_what_it_was_asked_for(settings: Settings) -> None:
    client = served(settings)
    sent = [submitted(client, ommitted="a,b", criterion="l2"), submitted(client)]
    (shown,) = jobs(client, txid=sent[0])
    assert shown["txid"] == sent[0]
    assert shown["parameters"] == {"percent": "0.4", "ommitted": "a,b", "criterion": "l2"}
    assert shown["files"] == {"model": "net.h5"}
    assert jobs(client, txid="nobody's") == []


def test_a_list_has_only_what_was_asked_for(settings: Settings) -> None:
    client = served(settings)
    done, failed = ran(settings, FINISH), ran(settings, CRASH)
    queued, cancelled, inspected = submitted(client), submitted(client), submitted(client, "inspect")
    client.post("/api/cancel", params={"txid": cancelled})
    assert txids(client, state="done") == [done]
    assert txids(client, state="failed") == [failed]
    assert txids(client, state="cancelled") == [cancelled]
    assert txids(client, state="queued") == [inspected, queued]
    assert txids(client, state="running") == []
    assert txids(client, task="inspect") == [inspected]
    assert txids(client, framework="onnx") == [inspected]
    assert txids(client, framework="tf", state="queued") == [queued]
    assert len(txids(client, since=(datetime.now(UTC) - timedelta(hours=1)).isoformat())) == 5
    assert txids(client, since=(datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")) == []


def test_a_result_past_its_retention_is_listed_as_expired(settings: Settings) -> None:
    client = served(settings)
    done = ran(settings, FINISH)
    with Session(open_database(settings)) as session, session.begin():
        row = queries.job(session, done)
        assert row is not None
        row.finished = datetime.now(UTC) - timedelta(seconds=settings.retention_seconds + 1)
    assert txids(client, state="done") == []
    (expired,) = jobs(client, state="expired")
    assert (expired["txid"], expired["status"], expired["code"]) == (done, -1, "result_expired")


@pytest.mark.parametrize(
    ("query", "field", "hint"),
    [
        ({"state": "finished"}, "state", "queued, running, done"),
        ({"task": "shrink"}, "task", "prune"),
        ({"limit": "0"}, "limit", "1 to 200"),
        ({"limit": "201"}, "limit", "1 to 200"),
        ({"limit": "1e2"}, "limit", "1 to 200"),
        ({"since": "yesterday"}, "since", "2026-11-22"),
        ({"after": "AAAAAAAAAAEAAAAA"}, "after", "Leave it out"),
        ({"after": "é"}, "after", "Leave it out"),
        ({"stat": "done"}, "stat", "Did you mean state?"),
    ],
)
def test_a_wrong_filter_is_named(settings: Settings, query: dict[str, str], field: str, hint: str) -> None:
    answer = served(settings).get("/api/jobs", params=query)
    assert (answer.status_code, answer.json()["field"], answer.json()["status"]) == (400, field, -1)
    assert hint in answer.json()["message"]


def test_a_client_lists_and_deletes_its_own_jobs_only(settings: Settings) -> None:
    settings = settings.model_copy(update={"keys_required": True})
    client = served(settings)
    people = {}
    for name in ("ann", "bob"):
        client_id, secret = Keys(settings).create(name)
        people[name] = {"X-IBM-Client-Id": client_id, "X-IBM-Client-Secret": secret}

    def submit(name: str) -> str:
        answer = client.post("/api/tf_prune?percent=0.4", files={"model": ("net.h5", b"model")}, headers=people[name])
        return str(answer.json()["txid"])

    of_ann, of_bob = [submit("ann"), submit("ann")], submit("bob")
    page = client.get("/api/jobs?limit=1", headers=people["ann"]).json()
    assert [job["txid"] for job in page["jobs"]] == of_ann[1:]
    others = client.get("/api/jobs", params={"after": page["next"]}, headers=people["bob"])
    assert (others.status_code, others.json()["field"]) == (400, "after")
    for method, path in (("POST", "/api/delete"), ("DELETE", "/api/jobs")):
        refused = client.request(method, path, params={"txid": of_bob}, headers=people["ann"])
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_transaction")
    bobs = client.get("/api/jobs", headers=people["bob"]).json()["jobs"]
    assert [(job["txid"], job["state"]) for job in bobs] == [(of_bob, "queued")]


@pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/", "/edgeai/run/api/jobs", "/edgeai/run/api/jobs/"])
def test_a_mask_reaches_into_the_list(settings: Settings, path: str) -> None:
    client = served(settings)
    txid = submitted(client)
    answer = client.get(path, headers={"X-Fields": "jobs{txid,status},next"})
    assert answer.json() == {"jobs": [{"txid": txid, "status": 1}]}


@pytest.mark.parametrize(
    ("method", "path", "script"),
    [
        ("POST", "/api/delete", FINISH),
        ("POST", "/edgeai/run/api/delete/", None),
        ("DELETE", "/api/jobs", CRASH),
        ("DELETE", "/edgeai/run/api/jobs/", None),
    ],
)
def test_a_deleted_job_leaves_nothing(settings: Settings, method: str, path: str, script: str | None) -> None:
    client = served(settings)
    txid = submitted(client) if script is None else ran(settings, script)
    if script != CRASH:
        assert files_under(settings.data_dir / "store")
    answer = client.request(method, path, params={"txid": txid})
    assert (answer.status_code, answer.json()["txid"]) == (200, txid)
    for call in ("status/", "download"):
        assert client.get(f"/api/{call}", params={"txid": txid}).status_code == 404
    again = client.request(method, path, params={"txid": txid})
    assert (again.status_code, again.json()["message"]) == (404, "No transaction submitted for txid")
    assert [file for file in files_under(settings.data_dir / "store") if txid in str(file)] == []
    engine = open_database(settings)
    with Session(engine) as session:
        assert queries.job(session, txid) is None
    assert Queue(engine).standing(txid) is None


def test_a_job_that_is_deleted_while_it_runs_publishes_nothing_and_is_forgotten(settings: Settings) -> None:
    desk, engine = Desk(settings), open_database(settings)
    folder = settings.data_dir / "work"
    folder.mkdir(parents=True)
    txid = send(settings, FINISH)

    class DeletedMeanwhile(ScriptRunner):
        async def run(self, *given: Any, **more: Any) -> Any:
            report = await super().run(*given, **more)
            await asyncio.to_thread(desk.delete, txid, "ann")
            return report

    tools = Tools(settings=settings, engine=engine, storage=Storage(settings), runner=DeletedMeanwhile(), folder=folder)
    with pytest.raises(JobFailedError):
        asyncio.run(attempt(tools, txid))
    queue = Queue(engine)
    with Session(engine) as session:
        assert queries.job(session, txid) is None
        # Its worker is to see there that it was cancelled, so that is left for the sweep.
        assert queue.strays(session, datetime.now(UTC) + timedelta(seconds=1)) == [txid]

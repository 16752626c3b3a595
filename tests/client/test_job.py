"""A job in hand: waited for, followed event by event, its files taken home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coppice.client.job import Job
from coppice.errors import OutOfMemory, ServiceUnavailable, TimeLimit
from coppice.records.report import Artifact, Inspection, Progress, Report
from coppice.records.request import Task
from tests.client.answering import service
from tests.pages.accounts import inspection, report

DONE: dict[str, Any] = {"status": 0, "message": "table"}
QUEUED: dict[str, Any] = {"status": 1, "message": "2 before it"}
FAILED: dict[str, Any] = {"status": -1, "message": "too big", "code": "out_of_memory"}
RUNNING: dict[str, Any] = {"status": 2, "message": "trace", "progress": {"step": "trace", "fraction": 0.1}}
NO_SUCH: dict[str, Any] = {"status": -1, "message": "no such artifact", "code": "unknown_artifact"}

FILES = (
    Artifact(name="model", file="net.pt", media_type="application/octet-stream"),
    Artifact(name="report", file="report.json", media_type="application/json"),
)
REPORT = report().model_copy(update={"artifacts": FILES, "quantized": None})


def stream(*statuses: dict[str, Any]) -> bytes:
    """Events as the service sends them, numbered by their place."""
    events = (f"id: {place}\nevent: status\ndata: {json.dumps(one)}\n\n" for place, one in enumerate(statuses))
    return ("retry: 2000\n\n: still there\n\n" + "".join(events)).encode()


def test_waiting_tells_progress_and_gives_the_report() -> None:
    seen: list[Progress] = []
    account = REPORT.model_dump_json().encode()
    with service((200, RUNNING), (200, DONE), (200, account)) as (server, client):
        job = Job[Report](client, "t", task=Task.PRUNE)
        assert job.wait(progress=seen.append) == REPORT
        assert job.account() is job.account()
    assert [progress.step for progress in seen] == ["trace"]
    assert server.asked[-1].path == "/api/download?txid=t&artifact=report"


def test_what_a_job_was_is_found_out_where_it_is_not_known() -> None:
    account = inspection()
    with service((404, NO_SUCH), (200, account.model_dump_json().encode())) as (server, client):
        found = client.job("t").account()
    assert isinstance(found, Inspection)
    assert found == account
    assert [one.path.rpartition("=")[2] for one in server.asked] == ["curve", "inspection"]


def test_waiting_ends_in_time_and_the_job_goes_on() -> None:
    with service((200, QUEUED)) as (server, client), pytest.raises(TimeLimit, match="It goes on"):
        client.job("t").wait(progress=False, timeout=0)
    assert [one.method for one in server.asked] == ["GET"]


def test_events_are_followed_to_the_end_where_a_stream_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coppice.client.events._PAUSE", 0.0)
    with service((200, stream(QUEUED, RUNNING)), None, (200, stream(DONE))) as (server, client):
        numbers = [status.number for status in client.job("t").events()]
    assert numbers == [1, 2, 0]
    assert [one.headers.get("Last-Event-ID") for one in server.asked] == [None, "1", "1"]


def test_a_failed_job_ends_its_events_with_its_own_error() -> None:
    with service((200, stream(RUNNING, FAILED))) as (_, client):
        events = client.job("t").events()
        assert next(events).message == "trace"
        with pytest.raises(OutOfMemory, match="too big"):
            next(events)


def test_streams_that_say_nothing_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coppice.client.events._PAUSE", 0.0)
    with service(*[(200, b"")] * 20) as (server, client), pytest.raises(ServiceUnavailable, match="before the job"):
        list(client.job("t").events())
    assert len(server.asked) == 6


def test_the_result_is_downloaded_to_a_file_and_everything_to_a_folder(tmp_path: Path) -> None:
    account = REPORT.model_dump_json().encode()
    seen: list[Progress] = []
    with service((200, account), (200, b"result"), (200, b"model"), (200, b"report")) as (server, client):
        job = Job[Report](client, "t", task=Task.PRUNE)
        expected = "quantized" if REPORT.request.quantization else "model"
        assert job.download(tmp_path / "own" / "small.pt", progress=seen.append) == [tmp_path / "own" / "small.pt"]
        written = job.download(tmp_path / "all")
    assert server.asked[1].path == f"/api/download?txid=t&artifact={expected}"
    assert (tmp_path / "own" / "small.pt").read_bytes() == b"result"
    assert {path.name: path.read_bytes() for path in written} == {"net.pt": b"model", "report.json": b"report"}
    assert (seen[-1].step, seen[-1].fraction) == ("download", 1)


def test_one_artifact_is_downloaded_under_its_own_name(tmp_path: Path) -> None:
    with service((200, REPORT.model_dump_json().encode()), (200, b"{}")) as (_, client):
        (path,) = Job[Report](client, "t", task=Task.PRUNE).download(tmp_path, "report")
    assert path == tmp_path / "report.json"


def test_a_notebook_shows_a_job_as_it_stands() -> None:
    hostile = {**RUNNING, "progress": {"step": "trace", "fraction": 0.25, "detail": "<script>"}}
    account = REPORT.model_dump_json().encode()
    with service((200, hostile), (200, FAILED), (200, DONE), (200, account)) as (_, client):
        job = Job[Report](client, "t", task=Task.PRUNE)
        running = job._repr_html_()
        assert "trace <progress value=" in running
        assert 'value="0.250"' in running
        assert "<script>" not in running
        assert job._repr_html_() == "<p>Job <code>t</code>: too big</p>"
        assert job._repr_html_() == REPORT._repr_html_()

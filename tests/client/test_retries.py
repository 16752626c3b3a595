"""Calls that are tried again: which, how often, how long after; and that a job is sent once, whatever breaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from coppice.errors import CoppiceError, NotInstalled, QuotaExceeded, ServiceUnavailable
from coppice.records.frameworks import Framework
from coppice.records.report import Progress
from coppice.records.request import Part, Request
from tests.client.answering import Answer, service

REQUEST = Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "m.h5"})
DONE: dict[str, Any] = {"status": 0, "message": "table"}
AWAY: dict[str, Any] = {"status": -1, "message": "away", "code": "service_unavailable"}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes any time."""
    made: list[float] = []
    monkeypatch.setattr("coppice.client.connection.time.sleep", made.append)
    return made


@pytest.mark.parametrize("failure", [None, (429, {}, AWAY), (503, {}, AWAY), (502, {}, {}), (504, {}, {})])
def test_what_passes_is_tried_again_after_ever_longer_pauses(failure: Answer, pauses: list[float]) -> None:
    with service(failure, failure, failure, (200, DONE), retries=4) as (server, client):
        assert client.status("t").done
    assert len(server.asked) == 4
    for attempt, pause in enumerate(pauses):
        assert 0.25 * 2**attempt <= pause <= 0.5 * 2**attempt


def test_the_pause_is_at_least_what_the_service_asks(pauses: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    refused = ((429, {"Retry-After": "7"}, AWAY), (503, {"Retry-After": date}, AWAY), (503, {"Retry-After": "x"}, AWAY))
    with service(*refused, (200, DONE), retries=4) as (_, client):
        assert client.status("t").done
    assert pauses[0] == 7
    assert 30 < pauses[1] <= 50
    assert pauses[2] <= 2


def test_it_is_given_up_in_the_end(pauses: list[float]) -> None:
    with (
        service(*[(503, {}, AWAY)] * 9, retries=2) as (server, client),
        pytest.raises(ServiceUnavailable, match="away"),
    ):
        client.status("t")
    assert len(server.asked) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((503, {}, {"message": "no torch", "code": "not_installed"}), NotInstalled),
        ((429, {"Retry-After": "7200"}, {"message": "too many jobs", "code": "quota_exceeded"}), QuotaExceeded),
        ((400, {}, {"message": "wrong", "code": "parameter_invalid"}), CoppiceError),
    ],
)
def test_what_does_not_pass_is_raised_at_once(answer: Answer, error: type[CoppiceError], pauses: list[float]) -> None:
    with service(answer, retries=4) as (server, client), pytest.raises(error) as raised:
        client.status("t")
    assert len(server.asked) == 1
    assert not pauses
    if isinstance(raised.value, QuotaExceeded):
        assert raised.value.retry_after == 7200


def test_a_job_that_is_sent_again_has_the_same_key_and_all_of_its_file(tmp_path: Path, pauses: list[float]) -> None:
    content = bytes(range(256)) * 3000
    (tmp_path / "m.h5").write_bytes(content)
    with service(None, (503, AWAY), (200, {"txid": "t"}), retries=4) as (server, client):
        assert client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}) == "t"
        server.answers.append((200, {"txid": "t-2"}))
        assert client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}) == "t-2"

    keys = [one.headers["Idempotency-Key"] for one in server.asked]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    assert all(content in one.body for one in server.asked)


def test_an_upload_tells_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(bytes(3_000_000))
    seen: list[Progress] = []
    with service((200, {"txid": "t"})) as (_, client):
        client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}, progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert {progress.step for progress in seen} == {"upload"}
    assert fractions[0] == 0
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert any(0 < fraction < 1 for fraction in fractions)
    assert seen[-1].detail == "m.h5, 3.0 of 3.0 MB"

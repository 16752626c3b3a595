"""The client against a server that answers what the HTTP contract says, over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice.errors import CoppiceError, KeyInvalid, OutOfMemory, ResultExpired, ServiceUnavailable
from coppice.records.frameworks import Framework
from coppice.records.job import JobState
from coppice.records.quantization import Precision
from coppice.records.report import Progress
from coppice.records.request import Part, Request, Task
from coppice.records.terms import Priority, Terms
from tests.client.answering import Answer, service

REQUEST = Request(framework=Framework.KERAS, percent=0.4, omit=("a", "b"), files={Part.MODEL: "m.h5"})


def test_submit_sends_the_documents_parameters_the_file_and_the_key(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"bytes of the model")
    with service((200, {"txid": "t", "message": "ok"})) as (server, client):
        assert client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}) == "t"

    (asked,) = server.asked
    assert asked.method == "POST"
    assert asked.path.startswith("/api/tf_prune?percent=0.4&ommitted=a%2Cb")
    assert (asked.headers["X-IBM-Client-Id"], asked.headers["X-IBM-Client-Secret"]) == ("id", "secret")
    assert b'name="model"; filename="m.h5"' in asked.body
    assert b"bytes of the model" in asked.body


def test_submit_sends_the_terms_that_were_given_and_the_key_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"bytes of the model")
    terms = Terms(priority=Priority.HIGH, time_limit=60)
    with service((200, {"txid": "t", "message": "ok"})) as (server, client):
        client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}, terms=terms, idempotency_key="mine")

    (asked,) = server.asked
    assert asked.path.endswith("&priority=high&time_limit=60")
    assert asked.headers["Idempotency-Key"] == "mine"


def _listed(txid: str) -> dict[str, object]:
    """As a service answers it, with a field that this client does not know."""
    job = {"txid": txid, "state": "done", "status": 0, "call": "tf_prune", "submitted": "2026-01-02T03:04:05Z"}
    more = {"queue": "cpu", "priority": "normal", "parameters": {"percent": "0.4"}, "files": {"model": "m.h5"}}
    return {**job, **more, "stored_bytes": 5, "later": 1}


def test_the_jobs_of_all_pages_are_listed() -> None:
    first, second, third = (_listed(txid) for txid in "321")
    pages = ({"jobs": [first, second], "next": "two"}, {"jobs": [third]})
    with service((200, pages[0]), (200, pages[1]), (200, {"txid": "1", "message": "gone"})) as (server, client):
        assert [(job.txid, job.state) for job in client.jobs(state="done")] == [(txid, JobState.DONE) for txid in "321"]
        client.delete("1")

    asked = [(one.method, one.path) for one in server.asked]
    assert asked == [
        ("GET", "/api/jobs?state=done"),
        ("GET", "/api/jobs?state=done&after=two"),
        ("POST", "/api/delete?txid=1"),
    ]


def test_an_earlier_result_is_quantized_by_its_txid_alone(tmp_path: Path) -> None:
    request = Request(
        framework=Framework.KERAS, task=Task.QUANTIZE, percent=0.0, precision=Precision.INT4, source_txid="t-1"
    )
    with service((200, {"txid": "t-2", "message": "ok"}), (200, b"the file")) as (server, client):
        assert client.submit(request, {}) == "t-2"
        client.download("t-2", tmp_path / "out", artifact="quantized")

    sent, asked = server.asked
    assert sent.path == "/api/tf_quantize?precision=int4&source_txid=t-1"
    assert sent.body == b""
    assert asked.path == "/api/download?txid=t-2&artifact=quantized"
    assert (tmp_path / "out").read_bytes() == b"the file"


def test_wait_looks_until_the_job_is_done_and_tells_what_it_saw() -> None:
    seen: list[Progress] = []
    running = {"status": 2, "message": "trace", "progress": {"step": "trace", "fraction": 0.1, "detail": ""}}
    with service(
        (200, {"status": 1, "message": "1 before it"}), (200, running), (200, {"status": "0", "message": "table"})
    ) as (_, client):
        assert client.wait("t", seen.append).message == "table"

    assert [(progress.step, progress.fraction) for progress in seen] == [("queued", 0), ("trace", 0.1)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"status": -1, "message": "too big", "code": "out_of_memory"}), OutOfMemory),
        ((401, {"status": -1, "message": "no key", "code": "key_invalid"}), KeyInvalid),
        ((410, {"status": -1, "message": "gone", "code": "result_expired"}), ResultExpired),
        ((502, b"<html>bad gateway</html>"), ServiceUnavailable),
        ((200, b"[]"), ServiceUnavailable),
    ],
)
def test_a_failure_of_the_service_is_raised_as_the_error_that_it_was_there(
    answer: Answer, error: type[CoppiceError]
) -> None:
    with service(answer) as (_, client), pytest.raises(error) as raised:
        client.status("t")

    if answer is not None and isinstance(answer[-1], dict):
        assert raised.value.message == answer[-1]["message"]


def test_a_download_is_the_bytes_of_the_answer(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    with service((200, content)) as (_, client):
        client.download("t", tmp_path / "f")

    assert (tmp_path / "f").read_bytes() == content

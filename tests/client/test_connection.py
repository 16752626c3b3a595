"""The client against a server that answers what the HTTP contract says, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from coppice.client import Client
from coppice.errors import CoppiceError, KeyInvalid, OutOfMemory, ResultExpired, ServiceUnavailable
from coppice.records.frameworks import Framework
from coppice.records.quantization import Precision
from coppice.records.report import Progress
from coppice.records.request import Part, Request, Task
from coppice.records.terms import Priority, Terms

Answer = tuple[int, dict[str, Any] | bytes]
REQUEST = Request(framework=Framework.KERAS, percent=0.4, omit=("a", "b"), files={Part.MODEL: "m.h5"})


class Service(ThreadingHTTPServer):
    """Gives its answers in order and keeps what it was asked."""

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """One canned answer a call."""

    server: Service

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, content = self.server.answers.pop(0)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the standard library's
        """Keep the test's output clean."""


@contextmanager
def service(*answers: Answer) -> Iterator[tuple[Service, Client]]:
    server = Service(list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with Client(
            f"http://127.0.0.1:{server.server_port}", client_id="id", client_secret="secret", retries=0
        ) as client:
            yield server, client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_submit_sends_the_documents_parameters_the_file_and_the_key(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"bytes of the model")
    with service((200, {"txid": "t", "message": "ok"})) as (server, client):
        assert client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}) == "t"

    method, path, headers, body = server.asked[0]
    assert method == "POST"
    assert path.startswith("/api/tf_prune?percent=0.4&ommitted=a%2Cb")
    assert (headers["X-IBM-Client-Id"], headers["X-IBM-Client-Secret"]) == ("id", "secret")
    assert b'name="model"; filename="m.h5"' in body
    assert b"bytes of the model" in body


def test_submit_sends_the_terms_that_were_given_and_the_key_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"bytes of the model")
    terms = Terms(priority=Priority.HIGH, time_limit=60)
    with service((200, {"txid": "t", "message": "ok"})) as (server, client):
        client.submit(REQUEST, {Part.MODEL: tmp_path / "m.h5"}, terms=terms, idempotency_key="mine")

    ((_method, path, headers, _body),) = server.asked
    assert path.endswith("&priority=high&time_limit=60")
    assert headers["Idempotency-Key"] == "mine"


def test_the_jobs_of_all_pages_are_listed() -> None:
    pages = ({"jobs": [{"txid": "3"}, {"txid": "2"}], "next": "two"}, {"jobs": [{"txid": "1"}]})
    with service((200, pages[0]), (200, pages[1]), (200, {"txid": "1", "message": "gone"})) as (server, client):
        assert [job["txid"] for job in client.jobs(state="done")] == ["3", "2", "1"]
        client.delete("1")

    asked = [(method, path) for method, path, _headers, _body in server.asked]
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
    assert sent[1] == "/api/tf_quantize?precision=int4&source_txid=t-1"
    assert sent[3] == b""
    assert asked[1] == "/api/download?txid=t-2&artifact=quantized"
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

    if isinstance(answer[1], dict):
        assert raised.value.message == answer[1]["message"]


def test_a_download_is_the_bytes_of_the_answer(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    with service((200, content)) as (_, client):
        client.download("t", tmp_path / "f")

    assert (tmp_path / "f").read_bytes() == content

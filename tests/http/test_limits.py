"""Uploads that break off, stall, crowd or come for nothing, on a real socket."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coppice.settings import Settings
from tests.http.process import Served, api_process, curl
from tests.http.service import files_under

pytestmark = pytest.mark.slow  # real processes

#: Long, because the cores may be shared by many; nothing waits this long unless its test is about to fail.
DEADLINE_SECONDS = 60.0
BEGIN = b'--b\r\nContent-Disposition: form-data; name="model"; filename="net.h5"\r\n\r\n'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"tls": False, "uploads_per_client": 1})


def until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not look():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS:.0f} s for {what}"
        time.sleep(0.02)


def begin_upload(server: Served, *, sent: int, announced: int = 10_000_000) -> socket.socket:
    """Send the head of an upload and some of it."""
    connection = server.connect()
    head = (
        f"POST /api/tf_prune?percent=0.4 HTTP/1.1\r\nHost: a\r\nContent-Length: {announced}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    connection.sendall(head.encode() + BEGIN + b"x" * sent)
    return connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers and body of what the server answers."""
    with connection, connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        lines = iter(file.readline, b"\r\n")
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in lines)
        return status, headers, json.loads(file.read(int(headers["content-length"])))


def uploaded(settings: Settings) -> list[Path]:
    return files_under(settings.data_dir / "store" / "uploads")


def test_an_upload_that_breaks_off_leaves_nothing(settings: Settings) -> None:
    with api_process(settings) as server:
        connection = begin_upload(server, sent=7_000_000)
        until(lambda: bool(uploaded(settings)), "the upload to begin")
        connection.close()
        until(lambda: not uploaded(settings), "the upload to be forgotten")
        # And the client's place is free again.
        until(lambda: _status(server) == 400, "the place to be free")


def _status(server: Served) -> int:
    return int(curl("-s", "-o", "/dev/null", "-w", "%{http_code}", "-F", "percent=0.4", f"{server.url}/api/tf_prune"))


@pytest.mark.parametrize(("limit", "seconds"), [("upload_stall_seconds", 1), ("uploads_seconds", 2)])
def test_an_upload_that_stalls_or_takes_too_long_is_given_up_and_leaves_nothing(
    settings: Settings, limit: str, seconds: int
) -> None:
    with api_process(settings.model_copy(update={limit: seconds})) as server:
        status, _headers, body = answer_of(begin_upload(server, sent=1000))
    assert (status, body["code"], body["txid"]) == (408, "upload_stalled", "N/A")
    assert uploaded(settings) == []


def test_a_client_with_its_uploads_under_way_is_told_when_to_come_back(settings: Settings) -> None:
    with api_process(settings) as server, begin_upload(server, sent=7_000_000):
        until(lambda: bool(uploaded(settings)), "the upload to begin")
        status, headers, body = answer_of(begin_upload(server, sent=0))
    assert (status, body["code"], body["txid"]) == (429, "too_many_requests", "N/A")
    assert int(headers["retry-after"]) > 0


def test_an_announced_length_over_the_limit_is_refused_before_it_is_sent(settings: Settings) -> None:
    with api_process(settings.model_copy(update={"max_upload_bytes": 5_000_000})) as server:
        status, _headers, body = answer_of(begin_upload(server, sent=0))
    assert (status, body["code"]) == (413, "upload_too_large")


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize(
    ("query", "code"), [("percent=40", "percent_out_of_range"), ("percent=0.4", "upload_too_large")]
)
def test_curl_shows_an_early_refusal_of_a_large_upload(
    settings: Settings, tmp_path: Path, expect: str, query: str, code: str
) -> None:
    model = tmp_path / "net.h5"
    with model.open("wb") as file:
        file.truncate(300_000_000)
    with api_process(settings.model_copy(update={"max_upload_bytes": 5_000_000})) as server:
        body = json.loads(curl("-s", "-H", expect, "-F", f"model=@{model}", f"{server.url}/api/tf_prune?{query}"))
        assert body["code"] == code
        curl("-sf", f"{server.url}/healthz")
    assert uploaded(settings) == []


def test_a_client_that_sends_all_before_it_reads_still_gets_the_refusal(settings: Settings) -> None:
    with api_process(settings.model_copy(update={"max_upload_bytes": 5_000_000})) as server:
        connection = begin_upload(server, sent=20_000_000, announced=len(BEGIN) + 20_000_000)
        status, _headers, body = answer_of(connection)
    assert (status, body["code"]) == (413, "upload_too_large")


def test_an_upload_larger_than_the_servers_memory_is_taken(settings: Settings, tmp_path: Path) -> None:
    """What `bench/upload_memory.py` measures with 2 GiB: the peak is the kernel's own number."""
    model = tmp_path / "net.h5"
    with model.open("wb") as file:
        file.truncate(300_000_000)
    with api_process(settings) as server:
        curl("-sf", "-F", f"model=@{model}", f"{server.url}/api/tf_prune?percent=0.4")
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert peak is not None
    assert int(peak[1]) * 1024 < 200 * 1024 * 1024
    assert [file.stat().st_size for file in uploaded(settings)] == [300_000_000]

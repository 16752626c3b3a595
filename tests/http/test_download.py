"""Downloads as RFC 9110 has them: validators, ranges, HEAD; through real servers; and clients that stop reading."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from coppice.jobs import queries
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.records.frameworks import Framework
from coppice.records.job import JobState, StoredArtifact
from coppice.records.report import Artifact
from coppice.records.request import Part, Request
from coppice.settings import Settings
from coppice.storage import Label, Storage, result_key
from tests.http.process import Served, api_process
from tests.http.service import RESULT, SUBMITTED, TXID, Client, ShownDesk, job, keep_results, served
from tests.storage.places import bucket, do, in_bucket, pieces
from tests.storage.test_trouble import small_disk

SIZE = len(RESULT)
TAG = f'"{hashlib.sha256(RESULT).hexdigest()}"'
ADDRESS = f"/api/download?txid={TXID}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    settings = Settings(data_dir=tmp_path_factory.mktemp("served") / "data", port=0)
    keep_results(settings)
    shown = job(JobState.DONE)
    expires = datetime.now(UTC) + timedelta(hours=3)
    return served(settings, ShownDesk(settings, {TXID: shown.model_copy(update={"expires": expires})}))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=5-5000", 5, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-5000", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
def test_a_range_is_that_part_and_says_which(client: Client, asked: str, start: int, end: int) -> None:
    answer = client.get(ADDRESS, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, RESULT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["etag"] == TAG


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=-", "bytes=5-2", "bytes=x-y", "bytes", "lines=1-2", "bytes=1-2-3", "bytes=+1-2"]
)
def test_several_ranges_and_what_is_no_range_are_the_whole_file(client: Client, asked: str) -> None:
    answer = client.get(ADDRESS, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, RESULT)
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=5000-6000", "bytes=-0", f"bytes={'9' * 19}-"])
def test_a_range_behind_the_end_is_refused_with_the_size(client: Client, asked: str) -> None:
    answer = client.get(ADDRESS, headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_impossible")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (TAG, 206),
        (format_datetime(SUBMITTED, usegmt=True), 206),
        (f"W/{TAG}", 200),
        ('"of another file"', 200),
        ("Sun, 22 Nov 2026 03:04:04 GMT", 200),
    ],
)
def test_a_part_is_given_only_of_the_file_that_the_caller_has_part_of(
    client: Client, if_range: str, status: int
) -> None:
    answer = client.get(ADDRESS, headers={"Range": "bytes=3-", "If-Range": if_range})
    assert (answer.status_code, answer.content) == (status, RESULT[3:] if status == 206 else RESULT)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-None-Match", TAG, 304),
        ("If-None-Match", f'"a", W/{TAG}', 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", '"a"', 200),
        ("If-Modified-Since", format_datetime(SUBMITTED, usegmt=True), 304),
        ("If-Modified-Since", "nonsense", 200),
    ],
)
def test_what_the_caller_has_is_not_sent_again(client: Client, name: str, value: str, status: int) -> None:
    answer = client.get(ADDRESS, headers={name: value})
    assert (answer.status_code, answer.content) == (status, b"" if status == 304 else RESULT)
    assert answer.headers["etag"] == TAG


def test_it_may_be_kept_as_long_as_the_service_keeps_it_by_its_own_client(client: Client) -> None:
    answer = client.get(ADDRESS)
    kind, age = answer.headers["cache-control"].split(", max-age=")
    assert kind == "private"
    assert 3 * 3600 - 120 < int(age) <= 3 * 3600
    assert answer.headers["last-modified"] == "Sun, 22 Nov 2026 03:04:05 GMT"


@pytest.mark.parametrize("path", ["/api/download", "/api/download/", "/edgeai/run/api/download"])
def test_head_is_the_same_without_the_file(client: Client, path: str) -> None:
    head = client.request("HEAD", path, params={"txid": TXID}, headers={"Range": "bytes=3-5"})
    whole = client.get(path, params={"txid": TXID})
    assert (head.status_code, head.content) == (200, b"")
    ours = {"x-request-id", "cache-control", "x-ratelimit-remaining", "x-ratelimit-limit"}
    assert {name: value for name, value in head.headers.items() if name not in ours} == {
        name: value for name, value in whole.headers.items() if name not in ours
    }


def test_a_file_that_the_sweep_took_is_gone_for_every_kind_of_call(settings: Settings) -> None:
    client = served(settings, ShownDesk(settings, {TXID: job(JobState.DONE)}))
    for method, headers in (("HEAD", {}), ("GET", {}), ("GET", {"Range": "bytes=3-5"})):
        assert client.request(method, ADDRESS, headers=headers).status_code == 410


@pytest.mark.slow
def test_a_redirect_leads_to_the_file_under_its_name_for_whoever_follows(tmp_path: Path) -> None:
    with bucket(tmp_path) as server:
        settings = in_bucket(server, tmp_path, port=0, downloads="redirect")
        client = served(settings, ShownDesk(settings, {TXID: job(JobState.DONE)}))
        assert client.get(ADDRESS).status_code == 410, "nothing is there, so nobody is sent there"
        key, label = result_key(TXID, 1, "net.h5"), Label(file="tmp7d8tkpfs.h5", media_type="application/x-hdf5")
        do(Storage(settings).put(key, pieces(RESULT), limit=100, label=label))
        answer = client.get(ADDRESS)
        assert (answer.status_code, answer.content) == (307, b"")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (TAG, "no-store")
        # Without any key: the address is enough, for a while.
        given = httpx.get(answer.headers["location"], timeout=60)
        assert (given.status_code, given.content) == (200, RESULT)
        assert given.headers["content-disposition"] == 'attachment; filename="tmp7d8tkpfs.h5"'
        assert given.headers["content-type"] == "application/x-hdf5"
        address = httpx.URL(answer.headers["location"])
        assert address.params["X-Amz-Expires"] == "300"
        assert httpx.get(address.copy_set_param("X-Amz-Expires", "9999"), timeout=60).status_code == 403
        # What only we can answer we do: our tag is not the store's.
        part = client.get(ADDRESS, headers={"Range": "bytes=3-5", "If-Range": TAG})
        assert (part.status_code, part.content) == (206, RESULT[3:6])
        head = client.request("HEAD", ADDRESS)
        assert (head.status_code, head.headers["content-length"]) == (200, str(SIZE))
        assert client.get(ADDRESS, headers={"If-None-Match": TAG}).status_code == 304


def large_result(settings: Settings, content: bytes) -> str:
    """Publish a job with that result, as a worker does."""
    desk, request = Desk(settings), Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "net.h5"})
    desk.submit(txid=TXID, client="anonymous", request=request, uploads=())
    file = do(Storage(settings).put(result_key(TXID, 1, "net.h5"), pieces(content), limit=len(content)))
    artifact = StoredArtifact(
        artifact=Artifact(name="model", file="net.h5", media_type="application/octet-stream"),
        key=file.key,
        size=file.size,
        sha256=file.sha256,
    )
    with Session(open_database(settings)) as session, session.begin():
        queries.begin_attempt(session, TXID)
        now = datetime.now(UTC)
        assert queries.publish(session, TXID, 1, finished=now, summary="", filename="net.h5", artifacts=(artifact,))
    return file.sha256


@pytest.mark.slow
def test_curl_resumes_where_it_was_cut(settings: Settings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"tls": False})
    content, out = os.urandom(8_000_000), tmp_path / "out"
    large_result(settings, content)
    with api_process(settings) as server:
        url = f"{server.url}{ADDRESS}"
        out.write_bytes(content[:3_000_001])
        subprocess.run(["curl", "-sf", "-C", "-", "-o", str(out), url], check=True, timeout=60)
        assert out.read_bytes() == content
        head = subprocess.run(["curl", "-sfI", url], check=True, capture_output=True, text=True, timeout=60).stdout
        assert "content-length: 8000000" in head.lower()


class Stalled:
    """A client that asks for a file and reads nothing of it."""

    def __init__(self, server: Served) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.socket.sendall(f"GET {ADDRESS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@contextmanager
def stalled(server: Served, count: int) -> Iterator[list[Stalled]]:
    with ExitStack() as stack:
        clients = [Stalled(server) for _ in range(count)]
        for client in clients:
            stack.enter_context(client.socket)
            client.socket.recv(1, socket.MSG_PEEK)  # its answer has begun
        yield clients


def status_of(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def connections(server: Served) -> int:
    """Established connections that the server has, as the kernel lists them."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{server.port:04X}") and row[3] == "01" for row in rows)


def results_open(server: Served) -> list[str]:
    """The stored results that the server has open."""
    names = []
    for file in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            names.append(str(file.readlink()))
    return [name for name in names if "/results/" in name]


def free_bytes(disk: Path) -> int:
    state = os.statvfs(disk)
    return state.f_bavail * state.f_frsize


def wait_until(holds: object) -> None:
    deadline = time.monotonic() + 60
    assert callable(holds)
    while not holds():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.05)


@pytest.mark.slow
def test_clients_that_stop_reading_hold_nothing_and_are_cut_off(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "160m") as disk:
        settings = Settings(data_dir=disk, port=0, tls=False, upload_stall_seconds=15)
        large_result(settings, os.urandom(64_000_000))
        with api_process(settings) as server:
            assert httpx.head(f"{server.url}{ADDRESS}", timeout=60).status_code == 200
            memory, threads = status_of(server.pid, "VmRSS"), status_of(server.pid, "Threads")
            with stalled(server, 30):
                wait_until(lambda: connections(server) >= 30)
                # Each is sent what fits into the sockets; then the server waits, and others are served.
                wait_until(lambda: not results_open(server))
                assert httpx.get(f"{server.url}/healthz", timeout=60).status_code == 200
                assert status_of(server.pid, "VmRSS") - memory < 30 * 4096, "KiB, of 30 x 64 MB"
                before = free_bytes(disk)
                do(Storage(settings).delete_prefix(f"results/{TXID}"))
                wait_until(lambda: free_bytes(disk) - before >= 64_000_000)
                # Threads of a pool have read for them, and end when there is nothing more to read.
                wait_until(lambda: status_of(server.pid, "Threads") - threads < 20)
                wait_until(lambda: connections(server) == 0)
            assert httpx.get(f"{server.url}/healthz", timeout=60).status_code == 200

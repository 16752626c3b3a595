"""The client's downloads: whole or not at all, whatever breaks on the way."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coppice.client import Client
from coppice.errors import ServiceUnavailable, UnknownTransaction

CONTENT = bytes(range(256)) * 4000
TAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


class Server(ThreadingHTTPServer):
    """Gives a file, each time no more of it than its next number says, and keeps what it was asked."""

    def __init__(self, gives: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.gives, self.content, self.tag, self.elsewhere = gives, CONTENT, TAG, ""
        self.asked: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        if self.server.elsewhere and self.path.startswith("/api/"):
            self.send_response(307)
            self.send_header("Location", self.server.elsewhere)
            self.send_header("ETag", self.server.tag)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if self.headers.get("If-Range") == self.server.tag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        rest = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.gives.pop(0)])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the standard library's
        """Keep the test's output clean."""


@contextmanager
def serving(*gives: int) -> Iterator[Server]:
    server = Server(list(gives))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def download(server: Server, path: Path) -> None:
    with Client(f"http://127.0.0.1:{server.server_port}", client_id="id", client_secret="secret", retries=0) as client:
        client.download("t", path)


def test_a_broken_download_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(300_000, 1, len(CONTENT)) as server:
        download(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=300000-", "bytes=300001-"]
    assert [asked.get("If-Range") for asked in server.asked] == [None, TAG, TAG]


def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(tmp_path: Path) -> None:
    other = CONTENT[::-1]
    with serving(300_000, len(CONTENT)) as server:
        ask = server.RequestHandlerClass.do_GET  # type: ignore[attr-defined]

        def change(handler: Handler) -> None:
            if len(server.asked) == 1:
                server.content, server.tag = other, f'"{hashlib.sha256(other).hexdigest()}"'
            ask(handler)

        server.RequestHandlerClass = type("Changing", (Handler,), {"do_GET": change})
        download(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == other


def test_bytes_that_are_not_the_files_are_not_kept(tmp_path: Path) -> None:
    with serving(len(CONTENT)) as server:
        server.content = b"x" + CONTENT[1:]
        with pytest.raises(ServiceUnavailable, match="sha-256"):
            download(server, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_never_ends_well_is_given_up_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coppice.client.download._FIRST_PAUSE", 0.0)
    (tmp_path / "f").write_bytes(b"of yesterday")
    with serving(300_000, *[0] * 20) as server, pytest.raises(ServiceUnavailable):
        download(server, tmp_path / "f")
    assert len(server.asked) == 9
    assert (tmp_path / "f").read_bytes() == b"of yesterday"


def test_what_broke_off_in_one_process_goes_on_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coppice.client.download._FIRST_PAUSE", 0.0)
    with serving(300_000, *[0] * 8, len(CONTENT)) as server:
        with pytest.raises(ServiceUnavailable):
            download(server, tmp_path / "f")
        assert {path.name for path in tmp_path.iterdir()} == {"f.part", "f.part.tag"}
        download(server, tmp_path / "f")
    assert server.asked[-1]["Range"] == "bytes=300000-"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": CONTENT}


@pytest.mark.parametrize("tag", [None, "W/whatever", '"' + "0" * 64 + '"'], ids=["none", "weak", "of another file"])
def test_a_part_of_no_known_file_is_not_gone_on_with(tmp_path: Path, tag: str | None) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * 100)
    if tag is not None:
        (tmp_path / "f.part.tag").write_text(tag)
    with serving(len(CONTENT)) as server:
        download(server, tmp_path / "f")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": CONTENT}


def test_a_part_that_is_not_what_its_tag_says_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * 100)
    (tmp_path / "f.part.tag").write_text(TAG)
    with serving(len(CONTENT)) as server, pytest.raises(ServiceUnavailable, match="sha-256"):
        download(server, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_whole_gets_its_name(tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT)
    (tmp_path / "f.part.tag").write_text(TAG)
    with serving() as server:
        download(server, tmp_path / "f")
    assert not server.asked
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": CONTENT}


def test_a_refusal_is_raised_at_once(tmp_path: Path) -> None:
    def refuse(handler: Handler) -> None:
        handler.server.asked.append({})
        body = b'{"status": -1, "message": "No transaction submitted for txid", "code": "unknown_transaction"}'
        handler.send_response(404)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with serving() as server:
        server.RequestHandlerClass = type("Refusing", (Handler,), {"do_GET": refuse})
        with pytest.raises(UnknownTransaction):
            download(server, tmp_path / "f")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_followed_without_the_key(tmp_path: Path) -> None:
    with serving() as server, serving(len(CONTENT)) as store:
        server.elsewhere = f"http://127.0.0.1:{store.server_port}/bucket/key?X-Amz-Signature=1"
        download(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.asked[0]["X-IBM-Client-Secret"] == "secret"
    assert not [name for name in store.asked[0] if name.lower().startswith("x-ibm")]

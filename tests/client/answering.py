"""A server that answers what it is told to, in order, over real sockets, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from coppice.client import Client

#: Status and body; or status, headers and body; None breaks the connection before an answer.
Answer = tuple[int, dict[str, Any] | bytes] | tuple[int, dict[str, str], dict[str, Any] | bytes] | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One call."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Service(ThreadingHTTPServer):
    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.asked: list[Asked] = []


class Handler(BaseHTTPRequestHandler):
    """One answer a call."""

    server: Service

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(method=self.command, path=self.path, headers=dict(self.headers), body=body)
        self.server.asked.append(asked)
        answer = self.server.answers.pop(0)
        if answer is None:
            self.close_connection = True
            return
        status, content = answer[0], answer[-1]
        headers = answer[1] if len(answer) == 3 else {}
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the standard library's
        """Keep the test's output clean."""


@contextmanager
def service(*answers: Answer, retries: int = 0) -> Iterator[tuple[Service, Client]]:
    """Such a server and a client of it, which tries again so often."""
    server = Service(list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with Client(url, client_id="id", client_secret="secret", retries=retries) as client:
            yield server, client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

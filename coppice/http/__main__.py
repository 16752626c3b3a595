"""The API process: `python -m coppice.http [--socket NUMBER]`. Its settings come from the environment (`COPPICE_...`).

Given the number of a listening socket, as `jobs.supervisor` does, it serves on that: calls that come while this
process starts again wait there. It prints one line when it listens, with the port that it got, and logs to stderr
without query strings: a transaction id opens a result, and a key is in the headers.
"""

from __future__ import annotations

import argparse
import json
import logging
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import uvicorn

from coppice import logs
from coppice.errors import CoppiceError
from coppice.http.app import create_app
from coppice.http.certificate import certificate
from coppice.http.drain import Server
from coppice.jobs import metrics
from coppice.jobs.desk import Desk
from coppice.jobs.exposition import listen
from coppice.jobs.keys import Keys
from coppice.settings import Settings, load
from coppice.storage import Storage

#: How long calls may go on after the server was told to stop, seconds; as long as a worker's job, where that is more.
_GRACE_SECONDS = 10
#: What is left then gets no more than a moment, seconds.
_CUT_SECONDS = 1


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    settings, given = load(), _arguments(sys.argv[1:])
    logs.set_up(settings, "http")
    metrics.open_metrics(settings, "http")
    try:
        serve(settings, given.socket, given.isolation)
    except CoppiceError as e:
        logging.getLogger("coppice.http").error("%s", e.message)  # noqa: TRY400  # a refusal, not a fault of ours
        return e.exit_code
    return 0


#: Longer than clients wait between two calls: a call that meets the closing of its connection fails.
_KEEP_ALIVE_SECONDS = 75


def serve(
    settings: Settings, listening: socket.socket | None = None, isolation: Mapping[str, str] | None = None
) -> None:
    """Open everything, listen unless that was done, serve."""
    app = create_app(settings, Desk(settings), Keys(settings), Storage(settings), isolation=isolation)
    if settings.metrics_port is not None:
        listen(settings, app.state.exposition)
    cert, key = certificate(settings) if settings.tls else (None, None)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ssl_certfile=cert,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CUT_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    listening = listening or config.bind_socket()
    # Printed before the loop runs, but the socket is bound: whoever reads the line can connect, and is served.
    listening.listen(config.backlog)
    # A client that takes nothing for so long is cut off by the kernel, with what waits to be sent to it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.upload_stall_seconds * 1000)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls else "http"
    print(f"Coppice listens on {scheme}://{host}:{listening.getsockname()[1]} (docs at /docs)", flush=True)  # noqa: T201
    patience = max(_GRACE_SECONDS, settings.drain_seconds)
    Server(config, app.state.drain, seconds=patience).run(sockets=[listening])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    socket: socket.socket | None
    isolation: Mapping[str, str] | None


def _arguments(arguments: list[str]) -> _Given:
    parser = argparse.ArgumentParser(prog="python -m coppice.http")
    parser.add_argument("--socket", type=int, metavar="NUMBER", help="descriptor of a socket that listens already")
    parser.add_argument("--isolation", type=json.loads, metavar="JSON", help="what contains the jobs, for /healthz")
    given = parser.parse_args(arguments)
    inherited = None if given.socket is None else socket.socket(fileno=given.socket)
    return _Given(socket=inherited, isolation=given.isolation)


if __name__ == "__main__":
    sys.exit(main())

"""The API process: `python -m coppice.http [--socket NUMBER]`. Its settings come from the environment (`COPPICE_...`).

Given the number of a listening socket, as `jobs.supervisor` does, it serves on that: calls that come while this
process starts again wait there. It prints one line when it listens, with the port that it got, and logs to stderr
without query strings: a transaction id opens a result, and a key is in the headers.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys

import uvicorn

from coppice.errors import CoppiceError
from coppice.http.app import create_app
from coppice.http.certificate import certificate
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.settings import Settings, load
from coppice.storage import Storage

#: How long a download may go on after the server was told to stop, seconds.
_GRACE_SECONDS = 10


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("coppice").setLevel(logging.INFO)
    try:
        serve(load(), _inherited(sys.argv[1:]))
    except CoppiceError as e:
        logging.getLogger("coppice.http").error("%s", e.message)  # noqa: TRY400  # a refusal, not a fault of ours
        return e.exit_code
    return 0


#: Longer than clients wait between two calls: a call that meets the closing of its connection fails.
_KEEP_ALIVE_SECONDS = 75


def serve(settings: Settings, listening: socket.socket | None = None) -> None:
    """Open everything, listen unless that was done, serve."""
    app = create_app(settings, Desk(settings), Keys(settings), Storage(settings))
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
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    listening = listening or config.bind_socket()
    # Printed before the loop runs, but the socket is bound: whoever reads the line can connect, and is served.
    listening.listen(config.backlog)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls else "http"
    print(f"Coppice listens on {scheme}://{host}:{listening.getsockname()[1]} (docs at /docs)", flush=True)  # noqa: T201
    uvicorn.Server(config).run(sockets=[listening])


def _inherited(arguments: list[str]) -> socket.socket | None:
    parser = argparse.ArgumentParser(prog="python -m coppice.http")
    parser.add_argument("--socket", type=int, metavar="NUMBER", help="descriptor of a socket that listens already")
    number = parser.parse_args(arguments).socket
    return None if number is None else socket.socket(fileno=number)


if __name__ == "__main__":
    sys.exit(main())

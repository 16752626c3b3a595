"""`coppice serve`: the service as its processes, one that speaks HTTP and some that work.

Here: what must hold before they start, and what they are. Not here: how they are kept running (`jobs.processes`).
This process serves nothing and runs no job, so there is little in it that could fail. It holds the listening socket:
while the HTTP process starts again, calls wait for a moment instead of being refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys

from sqlalchemy.exc import OperationalError

from coppice.errors import IsolationUnavailable, ServiceUnavailable
from coppice.jobs.database import open_database
from coppice.jobs.locks import hold
from coppice.jobs.processes import Program, keep_running
from coppice.jobs.queue import Queue
from coppice.jobs.sweep import sweep_unaccepted
from coppice.sandbox import describe
from coppice.settings import Settings
from coppice.storage import Storage
from coppice.version import __version__

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    Raises ParameterInvalid, ServiceUnavailable or IsolationUnavailable, each before a job could be lost by it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s serve %(levelname)s %(message)s")
    isolation = _isolation(settings)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    with hold(settings.data_dir / "service.lock", "the data folder"), _listen(settings) as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        _take_back(settings)
        sys.stdout.write(
            f"Coppice {__version__}\n"
            f"  data       {settings.data_dir}\n"
            f"  isolation  {isolation}\n"
            f"  API keys   {'needed (coppice keys create NAME)' if settings.asks_for_keys else 'not needed'}\n"
            f"  workers    {settings.workers}\n"
        )
        sys.stdout.flush()
        others = {name: value for name, value in os.environ.items() if not name.startswith("COPPICE_")}
        keep_running(_programs(settings, listener), {**others, **settings.environment()})
    return 0


def _isolation(settings: Settings) -> str:
    """What will contain the jobs; raises when that is nothing and others could send some."""
    settings.refuse_unsafe()
    found = describe(settings)
    reasons = "; ".join(found["reasons"])
    if found["level"] == "unavailable":
        raise IsolationUnavailable(reasons)
    return f"{found['level']} ({reasons})"


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as e:
        raise ServiceUnavailable(
            f"Can't listen on port {settings.port} of {settings.host}: {e.strerror}. Choose another with --port."
        ) from e


def _take_back(settings: Settings) -> None:
    """Put back on the queue what a worker had in hand that this service won't have."""
    engine = open_database(settings)
    Queue(engine).take_back(range(settings.workers))
    engine.dispose()


def _sweep_unaccepted(settings: Settings) -> None:
    try:
        engine = open_database(settings)
        asyncio.run(sweep_unaccepted(engine, Storage(settings)))
        engine.dispose()
    except (OSError, OperationalError):  # what is left over does no harm; a service that doesn't start again does
        _log.warning("unaccepted uploads not swept", exc_info=True)


def _programs(settings: Settings, listener: socket.socket) -> tuple[Program, ...]:
    python = (sys.executable, "-m")
    http = Program(
        name="HTTP process",
        command=(*python, "coppice.http", "--socket", str(listener.fileno())),
        pass_fds=(listener.fileno(),),
        # No upload is under way while no server runs, so one without a job is a killed server's.
        before_start=lambda: _sweep_unaccepted(settings),
    )
    workers = (
        Program(name=f"worker {slot}", command=(*python, "coppice.jobs.worker", str(slot)))
        for slot in range(settings.workers)
    )
    return (http, *workers)

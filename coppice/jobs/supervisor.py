"""`coppice serve` and `coppice work`: the service as its processes, one that speaks HTTP and some that work.

Here: what must hold before they start, and what they are. Not here: how they are kept running (`jobs.processes`).
This process serves nothing and runs no job, so there is little in it that could fail. It holds the listening socket:
while the HTTP process starts again, calls wait for a moment instead of being refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from coppice import logs
from coppice.errors import CoppiceError, IsolationUnavailable, ParameterInvalid, ServiceUnavailable
from coppice.jobs import metrics
from coppice.jobs.database import database_url, open_database
from coppice.jobs.locks import hold
from coppice.jobs.processes import Program, keep_running
from coppice.jobs.queue import Queue
from coppice.jobs.seats import Seat
from coppice.jobs.sweep import sweep_unaccepted
from coppice.sandbox import Isolation, describe
from coppice.settings import Settings
from coppice.storage import Storage
from coppice.version import __version__

_log = logging.getLogger(__name__)

_PYTHON = (sys.executable, "-m")
_METRICS = Program(name="metrics process", command=(*_PYTHON, "coppice.jobs.exposition"))


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    Raises ParameterInvalid, ServiceUnavailable, IsolationUnavailable or DatabaseUnavailable, each before a job could be
    lost by it.
    """
    logs.set_up(settings, "serve")
    settings = _placed(settings)
    with ExitStack() as stack:
        seats = seats_of(settings)
        isolation = _isolation(settings) if seats else None
        stack.enter_context(hold(settings.data_dir / "service.lock", "the data folder"))
        listener = stack.enter_context(_listen(settings))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        _open(settings, seats, stack)
        keys = "needed (coppice keys create NAME)" if settings.asks_for_keys else "not needed"
        _say(settings, {"isolation": _words(isolation), "API keys": keys, "workers": _crew(settings)})
        _keep(settings, (_http(settings, listener, isolation), *map(_worker, seats)))
    return 0


def work(settings: Settings) -> int:
    """Work for a service whose HTTP side is elsewhere, until SIGTERM or SIGINT; as `serve` otherwise."""
    logs.set_up(settings, "work")
    settings = _placed(settings)
    seats = seats_of(settings)
    if not seats:
        raise ParameterInvalid(
            "`coppice work` without a worker does nothing: --workers is at least 1.", field="workers"
        )
    isolation = _isolation(settings)
    with ExitStack() as stack:
        _open(settings, seats, stack)
        _say(settings, {"isolation": _words(isolation), "workers": _crew(settings)})
        counting = () if settings.metrics_port is None else (_METRICS,)
        _keep(settings, (*counting, *map(_worker, seats)))
    return 0


def _placed(settings: Settings) -> Settings:
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})


def seats_of(settings: Settings) -> tuple[Seat, ...]:
    """The workers. Their names outlast them, so that the next process in a seat has what the last one had in hand.

    In a fleet no other machine, and no later start of this one, may have the same; whose jobs are left over when all
    of this ends is found by the reaper of another.
    """
    start = f"{socket.gethostname()}-{uuid4().hex[:12]}-" if settings.fleet else ""
    return tuple(
        Seat(queue=queue, slot=slot, executor=f"{start}{queue}-{slot}")
        for queue in settings.queue_names
        for slot in range(settings.workers)
    )


def _open(settings: Settings, seats: Sequence[Seat], stack: ExitStack) -> None:
    """See to it that the database is there, and that nobody else works in this folder; take back what was left over."""
    engine = open_database(settings)
    if seats:
        what = "the folder in which the workers work; each `coppice work` of a machine needs its own (--data)"
        stack.enter_context(hold(settings.data_dir / "work.lock", what))
        if not settings.fleet:
            take_back(engine, seats)
    engine.dispose()


def take_back(engine: Engine, seats: Sequence[Seat]) -> None:
    """Put back on the queue what a worker of this one machine had in hand that it won't have again."""
    queue, ours = Queue(engine), {seat.executor for seat in seats}
    for held in queue.held():
        if held.executor not in ours:
            queue.release(held)


def _crew(settings: Settings) -> str:
    return f"{settings.workers} for each of: {settings.queues}" if settings.workers else "none here"


#: Whether there are other machines -> where the files are, without a bucket.
_FOLDER = {False: "in the data folder", True: "in the data folder, which all of the fleet must share"}


def _say(settings: Settings, lines: Mapping[str, str]) -> None:
    database = database_url(settings).render_as_string(hide_password=True) if settings.fleet else "in the data folder"
    told = {
        "data": str(settings.data_dir),
        "database": database,
        "storage": settings.storage_url or _FOLDER[settings.fleet],
        **lines,
    }
    said = "".join(f"  {name:<9}  {value}\n" for name, value in told.items())
    sys.stdout.write(f"Coppice {__version__}\n{said}")
    sys.stdout.flush()


def _keep(settings: Settings, programs: Sequence[Program]) -> None:
    metrics.clean(settings)
    others = {name: value for name, value in os.environ.items() if not name.startswith("COPPICE_")}
    keep_running(programs, {**others, **settings.environment()}, drain_seconds=settings.drain_seconds)


def _isolation(settings: Settings) -> Isolation:
    """What will contain the jobs; raises when that is nothing and others could send some."""
    settings.refuse_unsafe()
    found = describe(settings)
    if found["level"] == "unavailable":
        raise IsolationUnavailable("; ".join(found["reasons"]))
    return found


def _words(isolation: Isolation | None) -> str:
    if isolation is None:
        return "of the workers, which are elsewhere"
    return f"{isolation['level']} ({'; '.join(isolation['reasons'])})"


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as e:
        raise ServiceUnavailable(
            f"Can't listen on port {settings.port} of {settings.host}: {e.strerror}. Choose another with --port."
        ) from e


def _sweep_unaccepted(settings: Settings) -> None:
    try:
        engine = open_database(settings)
        asyncio.run(sweep_unaccepted(engine, Storage(settings)))
        engine.dispose()
    except (
        OSError,
        OperationalError,
        CoppiceError,
    ):  # what is left over does no harm; a service that doesn't start again does
        _log.warning("unaccepted uploads not swept", exc_info=True)


def _http(settings: Settings, listener: socket.socket, isolation: Isolation | None) -> Program:
    facts = {name: isolation[name] for name in ("level", "mechanism")} if isolation else None
    return Program(
        name="HTTP process",
        command=(*_PYTHON, "coppice.http", "--socket", str(listener.fileno()), "--isolation", json.dumps(facts)),
        pass_fds=(listener.fileno(),),
        # On one machine no upload is under way while no server runs, so one without a job is a killed server's.
        before_start=(lambda: None) if settings.fleet else (lambda: _sweep_unaccepted(settings)),
    )


def _worker(seat: Seat) -> Program:
    return Program(
        name=f"worker {seat.executor}",
        command=(*_PYTHON, "coppice.jobs.worker", seat.queue, str(seat.slot), seat.executor),
    )

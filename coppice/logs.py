"""The log of every process: lines for people, or one JSON object a line for programs, on standard error.

What a line is about (a transaction, a call) is known to the code around it and not to the code that logs; a context
variable carries it there. Not here: what may be logged (never keys, query strings, URLs with passwords).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

from coppice.settings import Settings

_TXID: ContextVar[str | None] = ContextVar("txid", default=None)
_REQUEST: ContextVar[str | None] = ContextVar("request", default=None)

#: Fields of a JSON line that only some lines have, and where they come from.
_CONTEXT = {"txid": _TXID, "request": _REQUEST}

#: Libraries that tell more than an operator wants to know; their warnings are shown.
_QUIET = ("alembic", "dbos", "httpx", "httpcore", "uvicorn", "asyncio")


def set_up(settings: Settings, process: str) -> None:
    """Log from here on in this process, which lines are to call `process`: `http`, `worker cpu 0`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATS[settings.log_format](process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # DBOS gives its logger a handler of its own unless it has one: its lines would come in another form.
    dbos = logging.getLogger("dbos")
    dbos.handlers[:] = [logging.NullHandler()]
    dbos.propagate = True
    logging.captureWarnings(capture=True)
    if settings.log_format == "json":
        sys.excepthook = _log_uncaught


@contextmanager
def about(*, txid: str | None = None, request: str | None = None) -> Iterator[None]:
    """Say of every line that is logged in this block, and in the tasks and threads it starts, what it is about."""
    given = ((_TXID, txid), (_REQUEST, request))
    tokens = [(variable, variable.set(value)) for variable, value in given if value is not None]
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The object of one record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
            **{name: value for name, variable in _CONTEXT.items() if (value := variable.get()) is not None},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _text(process: str) -> logging.Formatter:
    return logging.Formatter(f"%(asctime)s {process.replace('%', '%%')} %(levelname)s %(message)s")


_FORMATS = {"text": _text, "json": JsonFormatter}


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """The last words of a process that dies of an exception, in the form of all other lines."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("coppice").critical("the process ends: %s", kind.__name__, exc_info=(kind, error, traceback))

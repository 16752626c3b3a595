"""The audit log: who did what, from where, to which transaction, and how it ended.

What calls do is noted in memory and written by a thread, many rows in a transaction: no call waits for it and none
fails with it. What can be lost of it: the last second's, when the process is killed; the oldest, when the database is
away for so long that more than 10,000 wait, which the log says. What is done to keys is written in the transaction
that does it (`jobs.keys`), so none of that is lost.

Not here: which calls are noted (`http.witness`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from coppice.jobs.tables import AuditRow

_log = logging.getLogger(__name__)

#: Between two writes, seconds: one commit a second is nothing beside those of the jobs.
_PAUSE_SECONDS = 1.0
#: Entries that may wait: a quarter of an hour of one busy client.
_MOST_WAITING = 10_000
_BATCH = 1000
#: How often entries past their time are deleted, seconds.
_SWEEP_SECONDS = 3600.0
#: What a stopping process waits for the last write, seconds.
_CLOSE_SECONDS = 5.0
#: Enough for every name of ours; what a caller makes longer is his.
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that somebody did."""

    at: datetime
    client: str
    client_id: str | None = None  # of the API key
    address: str | None = None
    action: str
    txid: str | None = None
    outcome: str  # `ok`, or the code of the refusal


class Audit:
    """The log of one process; `note` is safe from any thread."""

    def __init__(self, engine: sa.Engine, *, keep_seconds: float) -> None:
        self._engine = engine
        self._keep = timedelta(seconds=keep_seconds)
        self._waiting: deque[Entry] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def note(self, entry: Entry) -> None:
        """Have an entry written soon; neither waits nor fails."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(entry)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Write what waits, and stop."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        sweep_at = 0.0
        while True:
            self._wake.wait(_SWEEP_SECONDS)
            # What comes in a second goes into one transaction.
            closing = self._closing.wait(_PAUSE_SECONDS)
            self._wake.clear()
            try:
                self._write()
                if time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + _SWEEP_SECONDS
                    forget(self._engine, datetime.now(UTC) - self._keep)
            except SQLAlchemyError as e:
                _log.warning("%d entries of the audit log wait: %s", len(self._waiting), type(e).__name__)
                self._wake.set()
            if closing:
                return

    def _write(self) -> None:
        if self._lost:
            _log.error("%d entries of the audit log were lost: the database was away for too long", self._lost)
            self._lost = 0
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.insert(AuditRow), [_row(entry) for entry in batch])
            except SQLAlchemyError:
                self._waiting.extendleft(reversed(batch))
                raise


def add(session: Session, entry: Entry) -> None:
    """Write an entry in the caller's transaction."""
    session.execute(sa.insert(AuditRow), [_row(entry)])


def entries(
    session: Session, *, client: str | None = None, since: datetime | None = None, last: int | None = None
) -> Sequence[Entry]:
    """The log, oldest first; of one client, from a moment on, or its end."""
    found = sa.select(AuditRow).order_by(AuditRow.number.desc())
    if client is not None:
        found = found.where(AuditRow.client == client)
    if since is not None:
        found = found.where(AuditRow.at >= since)
    return [
        Entry(
            at=row.at,
            client=row.client,
            client_id=row.client_id,
            address=row.address,
            action=row.action,
            txid=row.txid,
            outcome=row.outcome,
        )
        for row in reversed(session.scalars(found.limit(last)).all())
    ]


def forget(engine: sa.Engine, before: datetime) -> None:
    """Delete what is older than that."""
    with engine.begin() as connection:
        connection.execute(sa.delete(AuditRow).where(AuditRow.at < before))


def _row(entry: Entry) -> dict[str, object]:
    return {name: _text(value) if isinstance(value, str) else value for name, value in asdict(entry).items()}


def _text(value: str) -> str:
    # PostgreSQL takes no NUL in a text, and a row that can't be written would hold up all that come after it.
    return value[:_LONGEST].replace("\0", "?")

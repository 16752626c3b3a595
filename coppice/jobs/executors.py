"""Every query on the table of executors: which processes work, and their signs of life by the database's own clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, DateTime, delete, func, literal, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from coppice.jobs.tables import ExecutorRow

_INSERTS: Mapping[str, Callable[[type[ExecutorRow]], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


def join(session: Session, *, executor: str, queue: str | None, host: str) -> None:
    """Note the start of a process, or of the one that takes its place."""
    signs = {"queue": queue, "host": host, "started": _now(session), "seen": _now(session)}
    joined = _INSERTS[session.get_bind().dialect.name](ExecutorRow).values(id=executor, **signs)
    session.execute(joined.on_conflict_do_update(index_elements=[ExecutorRow.id], set_=signs))


def beat(session: Session, executor: str) -> bool:
    """Note a sign of life. False when the process was taken off the table."""
    seen = update(ExecutorRow).where(ExecutorRow.id == executor).values(seen=_now(session))
    return cast("CursorResult[Any]", session.execute(seen)).rowcount == 1


def leave(session: Session, executor: str) -> None:
    """Forget a process that ends in order."""
    session.execute(delete(ExecutorRow).where(ExecutorRow.id == executor))


def bury(session: Session, silent_seconds: float) -> list[str]:
    """Take the processes off the table that have been silent for so long; each is given to one caller only.

    Until that one commits, a process of the same name can't join again.
    """
    cutoff = _now(session, ago=silent_seconds)
    silent = delete(ExecutorRow).where(type_coerce(ExecutorRow.seen, DateTime()) < cutoff)
    return list(session.scalars(silent.returning(ExecutorRow.id)))


def living(session: Session) -> frozenset[str]:
    """Every process that is on the table."""
    return frozenset(session.scalars(select(ExecutorRow.id)))


def attended(session: Session, queue: str, silent_seconds: float) -> bool:
    """Whether a worker of that queue has given a sign of life lately."""
    cutoff = _now(session, ago=silent_seconds)
    heard = (ExecutorRow.queue == queue, type_coerce(ExecutorRow.seen, DateTime()) >= cutoff)
    return session.scalar(select(ExecutorRow.id).where(*heard).limit(1)) is not None


def alive_by_queue(session: Session, silent_seconds: float) -> dict[str, int]:
    """How many workers of each queue have given a sign of life lately."""
    cutoff = _now(session, ago=silent_seconds)
    heard = (ExecutorRow.queue.is_not(None), type_coerce(ExecutorRow.seen, DateTime()) >= cutoff)
    counted = select(ExecutorRow.queue, func.count()).where(*heard).group_by(ExecutorRow.queue)
    return {str(queue): number for queue, number in session.execute(counted)}


def _now(session: Session, *, ago: float = 0.0) -> ColumnElement[datetime]:
    """The database's present, or so many seconds before it."""
    before = timedelta(seconds=ago)
    # The clock, not the start of the transaction, and without a zone, as `Instant` keeps moments.
    if session.get_bind().dialect.name == "postgresql":
        return func.timezone("utc", func.clock_timestamp(), type_=DateTime()) - before
    # SQLite can't take a time off a moment: there it is taken off here, where the clock is the same.
    return literal(datetime.now(UTC).replace(tzinfo=None) - before, DateTime())

"""What one client may have at once: jobs that have not ended, and bytes that are stored.

Looked at before a body is read, so that a call that can't succeed costs nobody an upload; and again in the transaction
that accepts the job, where only one of a client's calls is at a time, so that no two take the same last place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from coppice.errors import QuotaExceeded
from coppice.jobs.tables import JobRow
from coppice.settings import Settings

#: What a client is told to wait when nothing tells how long it will be, seconds.
_A_WHILE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a client has now."""

    jobs: int
    bytes: int


def used(session: Session, client: str) -> Used:
    """What a client has now: two counts, each over an index of its own."""
    unfinished = sa.select(sa.func.count()).select_from(JobRow).where(JobRow.client == client, _UNFINISHED)
    stored = sa.select(sa.func.coalesce(sa.func.sum(JobRow.stored_bytes), 0)).where(JobRow.client == client, _STORED)
    return Used(jobs=session.scalar(unfinished) or 0, bytes=int(session.scalar(stored) or 0))


_UNFINISHED = JobRow.finished.is_(None)
_STORED = JobRow.swept.is_(None)


def look(session: Session, client: str, settings: Settings, size: int = 0) -> None:
    """Raise QuotaExceeded when one more job with that many bytes would be too much as things are now."""
    now = used(session, client)
    if now.jobs >= settings.jobs_per_client:
        raise QuotaExceeded(
            f"{now.jobs:,} jobs of yours are queued or running, and {settings.jobs_per_client:,} are allowed at once."
            " Wait until some have ended, or cancel some.",
            retry_after=_A_WHILE,
        )
    if now.bytes + size > settings.bytes_per_client:
        raise QuotaExceeded(
            f"{now.bytes:,} bytes of yours are stored, this upload has {size:,}, and"
            f" {settings.bytes_per_client:,} are allowed. Delete jobs whose results you have, or wait:"
            f" a result is deleted {settings.retention_seconds:,} s after its job has ended.",
            retry_after=_until_the_first_goes(session, client, settings),
        )


def check(session: Session, client: str, settings: Settings, size: int) -> None:
    """The same at the start of the transaction that accepts the job, and for it alone of this client's."""
    if session.connection().dialect.name == "postgresql":
        session.execute(_LOCK, {"client": f"quota of {client}"})
    elif not _writing(session):
        # The driver opens a transaction at the first change only, and what is counted must not change until then.
        session.execute(sa.text("BEGIN IMMEDIATE"))
    look(session, client, settings, size)


_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:client, 0))")


def _writing(session: Session) -> bool:
    return bool(getattr(session.connection().connection.driver_connection, "in_transaction", False))


def _until_the_first_goes(session: Session, client: str, settings: Settings) -> int:
    own = sa.select(sa.func.min(JobRow.finished)).where(JobRow.client == client, _STORED, JobRow.stored_bytes > 0)
    first: datetime | None = session.scalar(own)
    if first is None:
        return _A_WHILE
    gone = settings.retention_seconds - (datetime.now(UTC) - first).total_seconds()
    return max(_A_WHILE, round(gone))

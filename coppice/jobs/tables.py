"""Our tables. The queue's own live in the same file and belong to DBOS.

There is no column for a job's state: the queue's status is the state, so there is nothing to reconcile.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Instant(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database; a moment without a zone is a mistake of ours."""
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    """Base of our tables."""

    type_annotation_map = {datetime: Instant, dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON()}


class JobRow(Table):
    """One transaction, from its acceptance on; it stays when its files are gone."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True)  # in the order of acceptance
    txid: Mapped[str] = mapped_column(unique=True)
    client: Mapped[str]
    request: Mapped[dict[str, Any]]  # records.Request
    uploads: Mapped[list[Any]]  # storage.StoredFile
    submitted: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)  # starts; the number of the running one, never used again
    handed_back: Mapped[int] = mapped_column(default=0)  # starts that ended because the service was stopped
    progress: Mapped[dict[str, Any] | None]  # records.Progress
    finished: Mapped[datetime | None] = mapped_column(index=True)
    failure: Mapped[dict[str, Any] | None]  # records.Failure
    summary: Mapped[str | None] = mapped_column(Text)
    filename: Mapped[str | None]
    artifacts: Mapped[list[Any]] = mapped_column(default=list)  # records.StoredArtifact
    swept: Mapped[datetime | None]  # when the files were deleted


class KeyRow(Table):
    """One API key. The secret is 256 random bits, so a plain hash of it can't be searched."""

    __tablename__ = "api_keys"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    secret_sha256: Mapped[str]
    created: Mapped[datetime]
    revoked: Mapped[datetime | None]

"""Our tables. The queue's own live in the same database and belong to DBOS.

There is no column for a job's state: the queue's status is the state, so there is nothing to reconcile. A change here
needs a migration beside it (`jobs/migrations`); a test holds the two equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Index, Integer, Text, TypeDecorator, UniqueConstraint, text
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


#: SQLite numbers rows by itself in a column of this very type only.
_Number = BigInteger().with_variant(Integer, "sqlite")


#: The condition of a partial index, as each database takes it.
_STORED: dict[str, Any] = {name: text("swept IS NULL") for name in ("sqlite_where", "postgresql_where")}
_UNFINISHED: dict[str, Any] = {name: text("finished IS NULL") for name in ("sqlite_where", "postgresql_where")}


class Table(DeclarativeBase):
    """Base of our tables."""

    type_annotation_map = {datetime: Instant, dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON()}


class JobRow(Table):
    """One transaction, from its acceptance until it is forgotten (`record_seconds` after its end)."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("client", "idempotency_key"),
        Index("ix_jobs_client_number", "client", "number"),
        # The unfinished ones are few beside those that are kept for a week.
        Index("ix_jobs_unfinished", "client", "queue", "turn", **_UNFINISHED),
        Index("ix_jobs_rounds", "queue", "turn", **_UNFINISHED),
        Index("ix_jobs_stored", "client", "swept", "stored_bytes", **_STORED),
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True)  # in the order of acceptance
    txid: Mapped[str] = mapped_column(unique=True)
    client: Mapped[str]
    request: Mapped[dict[str, Any]]  # records.Request
    #: Of the terms, what the queue orders by: `jobs.turns`.
    queue: Mapped[str] = mapped_column(server_default="cpu")
    rank: Mapped[int] = mapped_column(server_default="1")
    turn: Mapped[int] = mapped_column(server_default="1")
    terms: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")  # records.Terms
    uploads: Mapped[list[Any]]  # storage.StoredFile
    submitted: Mapped[datetime]
    #: The client's own name for the call, and what it asked for: a repeated call finds its job by it.
    idempotency_key: Mapped[str | None]
    fingerprint: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)  # starts; the number of the running one, never used again
    handed_back: Mapped[int] = mapped_column(default=0)  # starts that ended because the service was stopped
    started: Mapped[datetime | None]  # the last start
    progress: Mapped[dict[str, Any] | None]  # records.Progress
    finished: Mapped[datetime | None] = mapped_column(index=True)
    failure: Mapped[dict[str, Any] | None]  # records.Failure
    summary: Mapped[str | None] = mapped_column(Text)
    filename: Mapped[str | None]
    artifacts: Mapped[list[Any]] = mapped_column(default=list)  # records.StoredArtifact
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # uploads and results
    swept: Mapped[datetime | None]  # when the files were deleted


class KeyRow(Table):
    """One API key. The secret is 256 random bits, so a plain hash of it can't be searched."""

    __tablename__ = "api_keys"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    secret_sha256: Mapped[str]
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]


class ExecutorRow(Table):
    """A process of the fleet and its last sign of life, by the database's clock."""

    __tablename__ = "executors"

    id: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str | None]  # None: an API process
    host: Mapped[str]
    started: Mapped[datetime]
    seen: Mapped[datetime] = mapped_column(index=True)


class WebhookRow(Table):
    """A completion that somebody is to be told of, until that was done or given up."""

    __tablename__ = "webhooks"

    txid: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(default=0)
    due: Mapped[datetime] = mapped_column(index=True)


class SecretRow(Table):
    """What the service signs with, by purpose and client."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class RateRow(Table):
    """A client's calls of late, for limits that all API processes of a fleet share; unlogged on PostgreSQL."""

    __tablename__ = "rates"

    client: Mapped[str] = mapped_column(primary_key=True)
    #: When the client will have used up nothing of its allowance (GCRA's theoretical arrival time).
    full_at: Mapped[datetime]


class AuditRow(Table):
    """Who did what, when: kept longer than the jobs themselves."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    client: Mapped[str]
    client_id: Mapped[str | None]  # of the API key
    address: Mapped[str | None]  # where the call came from
    action: Mapped[str]
    txid: Mapped[str | None]
    outcome: Mapped[str]

"""What a fleet needs: terms, idempotency, heartbeats, webhooks, rates, the audit log."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add columns and tables."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("queue", sa.String, nullable=False, server_default="cpu"))
        jobs.add_column(sa.Column("rank", sa.Integer, nullable=False, server_default="1"))
        jobs.add_column(sa.Column("turn", sa.Integer, nullable=False, server_default="1"))
        jobs.add_column(sa.Column("terms", sa.JSON, nullable=False, server_default="{}"))
        jobs.add_column(sa.Column("idempotency_key", sa.String))
        jobs.add_column(sa.Column("fingerprint", sa.String))
        jobs.add_column(sa.Column("started", sa.DateTime))
        jobs.add_column(sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"))
        jobs.create_unique_constraint("uq_jobs_client_idempotency_key", ["client", "idempotency_key"])
    op.create_index("ix_jobs_client_number", "jobs", ["client", "number"])
    unfinished: dict[str, Any] = {name: sa.text("finished IS NULL") for name in ("sqlite_where", "postgresql_where")}
    op.create_index("ix_jobs_unfinished", "jobs", ["client", "queue", "turn"], **unfinished)
    op.create_index("ix_jobs_rounds", "jobs", ["queue", "turn"], **unfinished)
    stored: dict[str, Any] = {name: sa.text("swept IS NULL") for name in ("sqlite_where", "postgresql_where")}
    op.create_index("ix_jobs_stored", "jobs", ["client", "swept", "stored_bytes"], **stored)
    _requeue()
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("expires", sa.DateTime))
    op.create_table(
        "executors",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("queue", sa.String),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("started", sa.DateTime, nullable=False),
        sa.Column("seen", sa.DateTime, nullable=False, index=True),
    )
    op.create_table(
        "webhooks",
        sa.Column("txid", sa.String, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due", sa.DateTime, nullable=False, index=True),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    op.create_table(
        "rates",
        sa.Column("client", sa.String, primary_key=True),
        sa.Column("full_at", sa.DateTime, nullable=False),
        # Written by every call, and worth nothing after a crash.
        prefixes=["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else [],
    )
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False, index=True),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("client_id", sa.String),
        sa.Column("address", sa.String),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("txid", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
    )


def _requeue() -> None:
    """Move what waits on the only queue that there was, one partition a client, to the queue of today.

    DBOS makes its table before ours are migrated, or there is none and nothing waits. Only a service on one machine had
    that queue, and it is not running while its file is migrated.
    """
    connection = op.get_bind()
    if not sa.inspect(connection).has_table("workflow_status"):
        return
    old = "queue_name = 'jobs' AND status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
    op.execute(f"UPDATE jobs SET turn = number WHERE txid IN (SELECT workflow_uuid FROM workflow_status WHERE {old})")  # noqa: S608  # our own words
    op.execute(f"UPDATE workflow_status SET queue_name = 'cpu', queue_partition_key = NULL WHERE {old}")  # noqa: S608

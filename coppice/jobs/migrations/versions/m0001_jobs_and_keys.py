"""Jobs and API keys, as they were before there were migrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, unless a service of before made them."""
    if sa.inspect(op.get_bind()).has_table("jobs"):
        return
    op.create_table(
        "jobs",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("txid", sa.String, nullable=False, unique=True),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("uploads", sa.JSON, nullable=False),
        sa.Column("submitted", sa.DateTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("handed_back", sa.Integer, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("finished", sa.DateTime, index=True),
        sa.Column("failure", sa.JSON),
        sa.Column("summary", sa.Text),
        sa.Column("filename", sa.String),
        sa.Column("artifacts", sa.JSON, nullable=False),
        sa.Column("swept", sa.DateTime),
    )
    op.create_table(
        "api_keys",
        sa.Column("client_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, index=True),
        sa.Column("secret_sha256", sa.String, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("revoked", sa.DateTime),
    )

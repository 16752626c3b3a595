"""Runs the steps on the connection that `jobs.database.migrate` holds, in its transaction."""

from __future__ import annotations

from alembic import context

from coppice.jobs.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table="coppice_version",
    transaction_per_migration=False,
)
context.run_migrations()

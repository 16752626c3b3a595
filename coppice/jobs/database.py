"""The one database file: how it is opened. Not here: tables (`jobs.tables`) and queries (`jobs.queries`)."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, create_engine, event, text

from coppice.jobs.tables import Table
from coppice.settings import Settings

#: How long a writer waits for another, milliseconds. Writes take milliseconds; a slow disk under load takes seconds.
_BUSY_MS = 30_000


def open_database(settings: Settings) -> Engine:
    """Open `data_dir/coppice.sqlite`, making the folder, the file and our tables where they are missing."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(f"sqlite:///{settings.data_dir.absolute() / 'coppice.sqlite'}")
    event.listen(engine, "connect", _configure)
    with engine.begin() as connection:
        # The lock is taken by hand because the driver starts a transaction at the first write only, and two processes
        # that start together would both find no table.
        connection.execute(text("BEGIN IMMEDIATE"))
        Table.metadata.create_all(connection)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # A write lock from the start of a transaction: a reader that turns writer can fail at once instead of waiting.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    # Write-ahead logging makes an accept four times faster, and is remembered by the file.
    connection.execute("PRAGMA journal_mode=WAL")
    # Accepted means on disk: with WAL, only FULL makes every commit reach it.
    connection.execute("PRAGMA synchronous=FULL")

"""How much a database does for a call, counted by the database itself: the same on a busy machine as on a quiet one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from coppice.jobs.database import open_database
from coppice.settings import Settings

#: SQLite counts by so many instructions of its virtual machine.
STRIDE = 100


@contextmanager
def counted(settings: Settings) -> Iterator[Callable[[], int]]:
    """Gives what was done since it was last asked: instructions on SQLite, touched pages of 8 KiB on PostgreSQL.

    On SQLite only what this process does on connections that are opened inside the block.
    """
    with _by_pages(settings) if settings.fleet else _by_instructions() as since:
        yield since


@contextmanager
def _by_instructions() -> Iterator[Callable[[], int]]:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0  # go on

    def watch(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(step, STRIDE)

    def since() -> int:
        nonlocal steps
        told, steps = steps * STRIDE, 0
        return told

    sa.event.listen(sa.Engine, "connect", watch)
    try:
        yield since
    finally:
        sa.event.remove(sa.Engine, "connect", watch)


@contextmanager
def _by_pages(settings: Settings) -> Iterator[Callable[[], int]]:
    engine = open_database(settings)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_stat_statements"))

        def since() -> int:
            pages = "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0) FROM pg_stat_statements"
            told = int(connection.execute(sa.text(pages)).scalar_one())
            connection.execute(sa.text("SELECT pg_stat_statements_reset()"))
            return told

        yield since
    engine.dispose()

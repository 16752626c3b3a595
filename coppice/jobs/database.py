"""The database: a SQLite file in the data folder, or the PostgreSQL of a fleet. How it is opened and migrated.

Not here: tables (`jobs.tables`), the steps of a migration (`jobs.migrations`), queries (`jobs.queries`).
"""

from __future__ import annotations

import logging
import sqlite3
from functools import cache
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from coppice.errors import DatabaseUnavailable, ParameterInvalid
from coppice.settings import Settings

_log = logging.getLogger(__name__)

#: How long a writer waits for another, milliseconds. Writes take milliseconds; a slow disk under load takes seconds.
_BUSY_MS = 30_000
_VERSION_TABLE = "coppice_version"
#: Any number will do, as long as nobody else in that database takes the same lock: the letters "copp".
_MIGRATION_LOCK = 0x636F7070
#: What libpq waits and how it finds out that the other side is gone (a pulled cable sends no goodbye): seconds, and
#: milliseconds for the last. Together they stay below `dead_after_seconds`, or an idle worker would hang past it.
_TCP = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3} | {
    "tcp_user_timeout": 10_000
}
#: The same for PostgreSQL's end. A process that stops, or is cut off, in the middle of a transaction leaves its locks
#: there, and without these for hours: the job that others take from it could not be started again. Milliseconds,
#: seconds, seconds, a number, milliseconds; our transactions take milliseconds.
_SESSION = (
    *("SET idle_in_transaction_session_timeout = 10000", "SET tcp_keepalives_idle = 5"),
    *("SET tcp_keepalives_interval = 2", "SET tcp_keepalives_count = 3", "SET tcp_user_timeout = 10000"),
)


def open_database(settings: Settings) -> Engine:
    """An engine on tables of this version, for one process; safe to use from several threads.

    A SQLite file is made and migrated here. PostgreSQL is migrated by `coppice migrate`, since the processes of a fleet
    start and stop by themselves. Raises DatabaseUnavailable, ParameterInvalid.
    """
    engine = _engine(settings)
    try:
        if settings.fleet:
            with engine.connect() as connection:
                check_version(connection)
        else:
            migrate(settings)
    except OperationalError as e:
        raise DatabaseUnavailable(f"The database {_shown(engine.url)} can't be opened: {_reason(e)}.") from e
    return engine


def migrate(settings: Settings) -> str:
    """Bring our tables to this version, and return it. Several may run at once.

    A fleet's queue is migrated, too, since the processes of a fleet migrate nothing.
    """
    engine = _engine(settings)
    try:
        if settings.fleet:
            from coppice.jobs.queue import migrate_queue  # not at the top: DBOS takes seconds to import

            migrate_queue(engine.url)
        with engine.begin() as connection:
            # Taken by hand: two processes that start together would both find no table.
            connection.execute(
                text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})" if settings.fleet else "BEGIN IMMEDIATE")
            )
            config = _config()
            config.attributes["connection"] = connection
            if not _is_newer(connection):
                command.upgrade(config, "head")
            return _revision(connection) or ""
    except OperationalError as e:
        raise DatabaseUnavailable(f"The database {_shown(engine.url)} can't be opened: {_reason(e)}.") from e
    finally:
        engine.dispose()


def _engine(settings: Settings) -> Engine:
    if not settings.fleet:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(database_url(settings), **_OPTIONS[settings.fleet])
    event.listen(engine, "connect", _limit_session if settings.fleet else _configure)
    event.listen(engine, "handle_error", _name_loss, retval=True)
    return engine


#: In a fleet -> how the engine is made. Its errors are logged, and what was in a statement is a client's own. A
#: connection that PostgreSQL has closed is noticed before it is used.
_OPTIONS: dict[bool, dict[str, object]] = {
    False: {"hide_parameters": True},
    True: {"hide_parameters": True, "pool_pre_ping": True, "pool_size": 10, "max_overflow": 10, "connect_args": _TCP},
}


def database_url(settings: Settings) -> URL:
    """The database as SQLAlchemy addresses it; raises ParameterInvalid for one that is no PostgreSQL."""
    if settings.database_url is None:
        return make_url(f"sqlite:///{settings.data_dir.absolute() / 'coppice.sqlite'}")
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        # Not shown: there may be a password in it.
        raise ParameterInvalid(
            "COPPICE_DATABASE_URL (--database-url) is not of the form postgresql://user:password@host:5432/name."
            " Leave it out to use a SQLite file in the data folder.",
            field="database_url",
        )
    return url.set(drivername="postgresql+psycopg")


def _name_loss(context: ExceptionContext) -> BaseException | None:
    """Give every lost connection one name, whatever the driver calls it.

    PostgreSQL ends a session that stood still in the middle of a transaction with an "internal error".
    """
    error = context.sqlalchemy_exception
    if not context.is_disconnect or not isinstance(error, DBAPIError) or isinstance(error, OperationalError):
        return None
    return OperationalError(
        error.statement, error.params, context.original_exception, hide_parameters=True, connection_invalidated=True
    )


def _limit_session(connection: psycopg.Connection[object], _record: object) -> None:
    with connection.cursor() as cursor:
        for setting in _SESSION:
            cursor.execute(setting)
    connection.commit()


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # A write lock from the start of a transaction: a reader that turns writer can fail at once instead of waiting.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    # Write-ahead logging makes an accept four times faster, and is remembered by the file.
    connection.execute("PRAGMA journal_mode=WAL")
    # Accepted means on disk: with WAL, only FULL makes every commit reach it.
    connection.execute("PRAGMA synchronous=FULL")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


@cache
def _known() -> tuple[str, ...]:
    """The revisions of this version, the newest first: read from files, and asked for at every look at readiness."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": _VERSION_TABLE}).get_current_revision()


def _is_newer(connection: Connection) -> bool:
    """Whether a later version of Coppice has migrated the tables: it only added to them."""
    found = _revision(connection)
    return found is not None and found not in _known()


def check_version(connection: Connection) -> None:
    """Raise DatabaseUnavailable when the tables are older than this version."""
    head, found = _known()[0], _revision(connection)
    if _is_newer(connection):
        _log.info("the database is at revision %s, newer than %s of this version", found, head)
    elif found != head:
        raise DatabaseUnavailable(
            f"The database is at revision {found or 'none'}, and this version needs {head}. Run `coppice migrate`."
        )


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _reason(error: OperationalError) -> str:
    return str(error.orig).strip().splitlines()[0].rstrip(".")

"""How many calls a client may make: counted in this process, or by all API processes of a fleet together.

The generic cell rate algorithm, in its form of virtual scheduling (ITU-T I.371, annex A; ATM Forum af-tm-0056.000,
section 4.4.2): one moment per client says when its allowance will be whole again. A call moves it on by a minute over
the limit, and is refused when that would put it more than a minute ahead. So a client that was quiet may make all the
calls of a minute at once, and then one at a time as they come back.

Not here: who is counted, and what a refused one is told (`http.auth`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import event

from coppice.jobs.database import database_url
from coppice.settings import Settings

_log = logging.getLogger(__name__)

_MINUTE = 60.0
#: Names that are remembered in a process before those whose allowance is whole again are forgotten.
_MANY = 10_000
#: What a call waits for the database to count it, seconds; and for how long nobody asks one that failed to.
_PATIENCE_SECONDS = 0.5
_AWAY_SECONDS = 5.0
#: How often the rows of clients that went away are deleted, seconds.
_SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is left of a minute's calls."""

    limit: int
    remaining: int
    #: Seconds until the next call would be let in; 0 where this one is.
    wait: float = 0.0

    @property
    def granted(self) -> bool:
        """Whether the call is let in."""
        return self.wait == 0


class Rates(Protocol):
    """Counts calls by name."""

    async def count(self, name: str, limit: int) -> Allowance:
        """Count one call, if it is within the limit."""

    async def look(self, name: str, limit: int) -> Allowance:
        """What `count` would say of a call, which is not counted."""


def open_rates(settings: Settings) -> Rates:
    """The count of this service."""
    return SharedRates(settings) if settings.fleet else LocalRates()


def granted(ahead: float, limit: int) -> Allowance:
    """The allowance after a call that put its client `ahead` seconds of now."""
    # A thousandth of a call makes up for what is lost to rounding.
    return Allowance(limit=limit, remaining=max(0, math.floor((_MINUTE - ahead) * limit / _MINUTE + 0.001)))


def refused(ahead: float, limit: int) -> Allowance:
    """The allowance of a client `ahead` seconds of now, for whom one more call would be too much."""
    return Allowance(limit=limit, remaining=0, wait=max(ahead + _MINUTE / limit - _MINUTE, 0.001))


class LocalRates:
    """The count of one process; one event loop uses it."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    async def count(self, name: str, limit: int) -> Allowance:
        """Count one call, if it is within the limit."""
        found = self._next(name, limit)
        if found.granted:
            now = time.monotonic()
            if len(self._full_at) >= _MANY:
                self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
            self._full_at[name] = now + max(self._full_at.get(name, 0.0) - now, 0.0) + _MINUTE / limit
        return found

    async def look(self, name: str, limit: int) -> Allowance:
        """What `count` would say of a call, which is not counted."""
        return self._next(name, limit)

    def _next(self, name: str, limit: int) -> Allowance:
        ahead = max(self._full_at.get(name, 0.0) - time.monotonic(), 0.0)
        after = ahead + _MINUTE / limit
        return granted(after, limit) if after <= _MINUTE + 1e-6 else refused(ahead, limit)


_NOW = "statement_timestamp() AT TIME ZONE 'UTC'"
_COUNT = sa.text(
    f"INSERT INTO rates AS r (client, full_at) VALUES (:name, {_NOW} + make_interval(secs => :step))"  # noqa: S608
    f" ON CONFLICT (client) DO UPDATE SET full_at = greatest(r.full_at, {_NOW}) + make_interval(secs => :step)"
    f" WHERE r.full_at + make_interval(secs => :step) <= {_NOW} + make_interval(secs => {_MINUTE})"
    f" RETURNING extract(epoch FROM full_at - {_NOW})"
)
_LOOK = sa.text(f"SELECT extract(epoch FROM full_at - {_NOW}) FROM rates WHERE client = :name")  # noqa: S608
_SWEEP = sa.text(f"DELETE FROM rates WHERE full_at < {_NOW}")  # noqa: S608


class SharedRates:
    """The count of all API processes of a fleet, in PostgreSQL; safe to use from several threads.

    A count is worth less than a call: while the database is slow or away, calls are let through and that is logged.
    """

    def __init__(self, settings: Settings) -> None:
        # Connections of its own: no transaction around the one statement, short limits, and a commit that doesn't wait
        # for the disk, since a crash may forget what was called in the last minute.
        self._engine = sa.create_engine(
            database_url(settings),
            isolation_level="AUTOCOMMIT",
            pool_size=4,
            max_overflow=0,
            pool_timeout=_PATIENCE_SECONDS,
            connect_args={"connect_timeout": 2, "tcp_user_timeout": 2000},
        )
        event.listen(self._engine, "connect", _hurry)
        self._away_until = 0.0
        self._sweep_at = time.monotonic() + _SWEEP_SECONDS

    async def count(self, name: str, limit: int) -> Allowance:
        """Count one call, if it is within the limit."""
        return await self._ask(name, limit, count=True)

    async def look(self, name: str, limit: int) -> Allowance:
        """What `count` would say of a call, which is not counted."""
        return await self._ask(name, limit, count=False)

    async def _ask(self, name: str, limit: int, *, count: bool) -> Allowance:
        if time.monotonic() >= self._away_until:
            try:
                # The thread may wait longer than the call does.
                return await asyncio.wait_for(
                    asyncio.to_thread(self._counted, name, limit, count=count), _PATIENCE_SECONDS
                )
            except (sa.exc.SQLAlchemyError, TimeoutError) as e:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                _log.warning("calls are not counted for %.0f s: %s", _AWAY_SECONDS, type(e).__name__)
        return Allowance(limit=limit, remaining=limit)

    def _counted(self, name: str, limit: int, *, count: bool) -> Allowance:
        step = _MINUTE / limit
        with self._engine.connect() as connection:
            if count:
                after = connection.scalar(_COUNT, {"name": name, "step": step})
                if after is not None:
                    self._sweep(connection)
                    return granted(float(after), limit)
            ahead = max(float(connection.scalar(_LOOK, {"name": name}) or 0), 0.0)
        if not count and ahead + step <= _MINUTE:
            return granted(ahead + step, limit)
        return refused(ahead, limit)

    def _sweep(self, connection: sa.Connection) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + _SWEEP_SECONDS
            connection.execute(_SWEEP)


def _hurry(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = off")
    cursor.execute(f"SET statement_timeout = {int(_PATIENCE_SECONDS * 1000)}")
    cursor.close()

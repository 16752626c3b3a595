"""How the whole service stands at this moment, by its database: for metrics, and for whoever asks if it is ready."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from coppice.errors import DatabaseUnavailable
from coppice.jobs import executors
from coppice.jobs.database import check_version
from coppice.jobs.exposition import Now
from coppice.jobs.queue import Depth, Queue
from coppice.jobs.tables import WebhookRow
from coppice.settings import Settings

_EMPTY = Depth(queued=0, running=0, oldest=None)


class Look:
    """Looks at the database of a service; safe to use from several threads. Both raise DatabaseUnavailable."""

    def __init__(self, settings: Settings, engine: sa.Engine, queue: Queue) -> None:
        self._settings = settings
        self._engine = engine
        self._queue = queue

    def ready(self) -> None:
        """Return when the database answers and its tables are those of this version, or of a later one."""
        try:
            with self._engine.connect() as connection:
                check_version(connection)
        except DBAPIError as e:
            raise DatabaseUnavailable("The database does not answer.") from e

    def now(self) -> Now:
        """Queues, executors and webhooks; a queue of this service that is empty is there, too."""
        names = self._settings.queue_names
        try:
            with Session(self._engine) as session:
                alive = executors.alive_by_queue(session, self._settings.dead_after_seconds)
                webhooks = session.scalar(sa.select(sa.func.count()).select_from(WebhookRow)) or 0
            return Now(
                queues={**dict.fromkeys(names, _EMPTY), **self._queue.depths()},
                executors={**dict.fromkeys(names, 0), **alive},
                webhooks=webhooks,
            )
        except DBAPIError as e:
            raise DatabaseUnavailable("The database does not answer.") from e

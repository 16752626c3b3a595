"""The queue: every call of DBOS, and nothing else that knows it or its table.

Here: adding a job inside the caller's transaction, its standing, its place, cancelling it, giving it back, and the
worker's side that takes jobs one by one. Not here: whose turn it is (`jobs.turns`), what a job is (`jobs.tables`), what
running one means (`jobs.worker`), which workers live (`jobs.heartbeat`).

DBOS keeps each job's status in the same database as our tables. When a worker starts, the jobs that its executor had in
hand are its own again; those of an executor that never comes back are given back by whoever notices.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer
from sqlalchemy.orm import InstrumentedAttribute, Session

from coppice.jobs.tables import JobRow
from coppice.records.job import JobState

_APPLICATION = "coppice"
_WORKFLOW = "prune"
#: Pinned: by default it is a hash of the code, and jobs accepted before an upgrade would never be taken after it.
_VERSION = "1"
#: How often an idle worker looks for a job, seconds: 3 to 5 % of a core. In a fleet many ask one database.
_POLL_SECONDS = {"sqlite": 0.1, "postgresql": 0.25}

_QUEUED, _RUNNING = "ENQUEUED", "PENDING"
_STATES = {
    _QUEUED: JobState.QUEUED,
    "DELAYED": JobState.QUEUED,
    _RUNNING: JobState.RUNNING,
    "SUCCESS": JobState.DONE,
    "ERROR": JobState.FAILED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}

_COLUMNS = (
    *("workflow_uuid", "name", "queue_name", "status", "priority", "executor_id", "owner_xid", "recovery_attempts"),
    *("created_at", "started_at_epoch_ms", "updated_at", "completed_at"),
)


class JobFailedError(Exception):
    """Tells the queue that a job ended without a result; the job's row says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the queue says of one job."""

    state: JobState
    ended: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A job in a worker's hands."""

    txid: str
    executor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How full a queue is; `oldest` is when the first of its waiting jobs was sent."""

    queued: int
    running: int
    oldest: datetime | None


def _status_table(engine: sa.Engine | sa.Connection) -> sa.TableClause:
    """DBOS's documented table of states, for what its client has no call for: bulk, conditions, joins."""
    schema = "dbos" if engine.dialect.name == "postgresql" else None
    return sa.table("workflow_status", *map(sa.column, _COLUMNS), schema=schema)


def transactions(engine: sa.Engine | sa.Connection, state: JobState) -> sa.Select[tuple[str]]:
    """The transactions that the queue has in a state, for a condition on our own tables."""
    status = _status_table(engine).c
    words = [word for word, meant in _STATES.items() if meant is state]
    return sa.select(status.workflow_uuid).where(status.status.in_(words))


def waits(connection: sa.Connection, txid: InstrumentedAttribute[str]) -> sa.ColumnElement[bool]:
    """That a transaction is on a queue and in nobody's hands, as a condition on our own tables."""
    status = _status_table(connection).c
    return sa.exists().where(status.workflow_uuid == txid, status.status == _QUEUED)


def running(connection: sa.Connection, queue: str) -> sa.Select[tuple[str]]:
    """The transactions of a queue that are in somebody's hands, for the same."""
    status = _status_table(connection).c
    return sa.select(status.workflow_uuid).where(status.queue_name == queue, status.status == _RUNNING)


def set_order(session: Session, turns: Mapping[str, int]) -> None:
    """Have the queue take transactions by these turns, those that still wait."""
    status = _status_table(session.connection())
    session.execute(
        sa.update(status)
        .where(status.c.workflow_uuid == sa.bindparam("txid"), status.c.status == _QUEUED)
        .values(priority=sa.bindparam("turn")),
        [{"txid": txid, "turn": turn} for txid, turn in turns.items()],
    )


def migrate_queue(url: sa.URL) -> None:
    """Make or migrate the queue's own tables."""
    _quieten_dbos()
    DBOS.migrate(_plain(url))


class Queue:
    """The side that adds, watches and cancels jobs; safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        if engine.dialect.name == "sqlite":
            migrate_queue(engine.url)
        _quieten_dbos()
        self._engine = engine
        self._status = _status_table(engine)
        self._client = DBOSClient(
            system_database_engine=engine, serializer=DBOSPortableJSONSerializer(), application_name=_APPLICATION
        )

    def add(self, session: Session, row: JobRow) -> None:
        """Queue a job in the transaction that inserts its row: both are kept or neither."""
        self._client.enqueue_in_transaction(
            session,
            {
                "queue_name": row.queue,
                "workflow_name": _WORKFLOW,
                "workflow_id": row.txid,
                "workflow_id_reuse_policy": "reject",
                "app_version": _VERSION,
                "priority": row.turn,
            },
            row.txid,
        )

    def standing(self, txid: str) -> Standing | None:
        """Where a job stands; None when it was never queued."""
        return self.standings([txid]).get(txid)

    def standings(self, txids: Collection[str]) -> Mapping[str, Standing]:
        """Where jobs stand, in one query; those that were never queued are left out."""
        status = self._status.c
        found = sa.select(status.workflow_uuid, status.status, status.completed_at)
        with self._engine.connect() as connection:
            return {
                txid: Standing(state=_STATES[state], ended=_instant(ended))
                for txid, state, ended in connection.execute(found.where(status.workflow_uuid.in_(txids)))
            }

    def place(self, row: JobRow) -> int:
        """A queued job's place: 1 is next. What others send later may come before it, since clients take turns."""
        status = self._status.c
        ahead = (
            sa.select(sa.func.count())
            .select_from(self._status)
            .join(JobRow, JobRow.txid == status.workflow_uuid)
            .where(
                status.queue_name == row.queue,
                status.status == _QUEUED,
                sa.or_(JobRow.turn < row.turn, sa.and_(JobRow.turn == row.turn, JobRow.number < row.number)),
            )
        )
        with self._engine.connect() as connection:
            return 1 + (connection.scalar(ahead) or 0)

    def cancel(self, txid: str) -> None:
        """Take a job off the queue, or have its worker stop it within a second or two; an ended job stays as it is."""
        self._client.cancel_workflow(txid)

    def held(self) -> tuple[Held, ...]:
        """The jobs that are in the hands of workers, whether these live or not."""
        status = self._status.c
        found = sa.select(status.workflow_uuid, status.executor_id).where(status.status == _RUNNING)
        with self._engine.connect() as connection:
            return tuple(Held(txid=txid, executor=executor) for txid, executor in connection.execute(found))

    def keeps(self, session: Session, held: Held) -> bool:
        """Whether a job is in those very hands, and stays there until this transaction ends."""
        mine = sa.select(self._status.c.workflow_uuid).where(*self._in_hands(held)).with_for_update()
        return session.scalar(mine) is not None

    def release(self, held: Held) -> bool:
        """Put a job back on its queue, if it is still in those very hands; its turn is as it was.

        DBOS's own call for this also revives jobs that were cancelled, and takes them from whoever has them by now.
        """
        given = (
            sa.update(self._status)
            .where(*self._in_hands(held))
            .values(
                status=_QUEUED,
                # Without its token, what the former owner still writes of the job is not taken by the queue.
                owner_xid=None,
                recovery_attempts=0,
                started_at_epoch_ms=None,
                updated_at=round(datetime.now(UTC).timestamp() * 1000),
            )
        )
        with self._engine.begin() as connection:
            return connection.execute(given).rowcount == 1

    def _in_hands(self, held: Held) -> tuple[sa.ColumnElement[bool], ...]:
        status = self._status.c
        return (
            status.workflow_uuid == held.txid,
            status.status == _RUNNING,
            status.executor_id == held.executor,
        )

    def forget(self, txids: Collection[str]) -> None:
        """Delete what the queue knows of jobs; that of a running one takes its worker's right to end it."""
        if txids:
            self._client.delete_workflows(list(txids))

    def strays(self, session: Session, ended_before: datetime) -> list[str]:
        """Transactions that ended before a moment, and of which there is no row any more: their jobs were deleted."""
        status = self._status.c
        ended = (status.name == _WORKFLOW, status.completed_at < ended_before.timestamp() * 1000)
        known = sa.exists().where(JobRow.txid == status.workflow_uuid)
        return list(session.scalars(sa.select(status.workflow_uuid).where(*ended, ~known)))

    def depths(self) -> Mapping[str, Depth]:
        """How full each queue is that has something in it."""
        status = self._status.c
        counted = (
            sa.select(status.queue_name, status.status, sa.func.count(), sa.func.min(status.created_at))
            .where(status.status.in_((_QUEUED, _RUNNING)), status.queue_name.is_not(None))
            .group_by(status.queue_name, status.status)
        )
        with self._engine.connect() as connection:
            rows = {(queue, state): (count, oldest) for queue, state, count, oldest in connection.execute(counted)}
        nothing = (0, None)
        return {
            queue: Depth(
                queued=rows.get((queue, _QUEUED), nothing)[0],
                running=rows.get((queue, _RUNNING), nothing)[0],
                oldest=_instant(rows.get((queue, _QUEUED), nothing)[1]),
            )
            for queue, _state in rows
        }


async def work(engine: sa.Engine, executor: str, queue: str, run: Callable[[str], Awaitable[None]]) -> None:
    """Take the jobs of a queue one by one and run them on this event loop, until the process ends.

    `run` gets the transaction id. It returns when the job has a result, raises JobFailedError when it has a failure,
    and is cancelled when the job is. `executor` names this process, and the one that takes its place: what it had in
    hand when it was killed it takes up again at its start. Two that live must never have the same.
    """
    config: DBOSConfig = {
        "name": _APPLICATION,
        "system_database_url": _plain(engine.url),
        "system_database_engine": engine,
        "application_version": _VERSION,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        # A fleet is migrated by `coppice migrate`; a process that starts in the middle of an upgrade must not.
        "run_migrations": engine.dialect.name == "sqlite",
    }
    DBOS(config=config)
    _quieten_dbos()

    @DBOS.step(name=_WORKFLOW, preemptible=True)
    async def step(txid: str) -> None:
        await run(txid)

    # Its own limit is off: it would count the attempts since the last release only. `jobs.attempt` counts them all.
    @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)
    async def workflow(txid: str) -> None:
        await step(txid)

    DBOS.listen_queues([queue])
    # Launched while this loop runs, DBOS runs the workflows on it: on the main thread, whose end is the process's.
    # A child that is to die with its parent dies with the thread that started it.
    DBOS.launch()
    await DBOS.register_queue_async(
        queue, worker_concurrency=1, polling_interval_sec=_POLL_SECONDS[engine.dialect.name]
    )


def _plain(url: sa.URL) -> str:
    """The address as DBOS wants it: with its password, and without our choice of driver."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _quieten_dbos() -> None:
    log = logging.getLogger("dbos")
    log.setLevel(logging.WARNING)
    log.addFilter(_is_a_fault)


def _is_a_fault(record: logging.LogRecord) -> bool:
    # A failed job is an ordinary end, noted in its row; DBOS would log it as an error, with a traceback.
    return not (record.exc_info and isinstance(record.exc_info[1], JobFailedError))

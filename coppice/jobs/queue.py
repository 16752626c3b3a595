"""The queue: every call of DBOS, and nothing else that knows it.

Here: adding a job inside the caller's transaction, its standing, its place, cancelling it, and the worker's side that
takes jobs one by one. Not here: what a job is (`jobs.tables`) and what running one means (`jobs.worker`).

DBOS keeps each job's status in the same SQLite file as our tables. When a worker starts, the jobs that its slot had
in hand go back to the queue; that is what makes an accepted job end whatever is killed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, WorkflowStatus
from sqlalchemy.orm import Session

from coppice.jobs.tables import JobRow
from coppice.records.job import JobState

_APPLICATION = "coppice"
_QUEUE = "jobs"
_WORKFLOW = "prune"
#: Pinned: by default it is a hash of the code, and jobs accepted before an upgrade would never be taken after it.
_VERSION = "1"
#: How often an idle worker looks for a job, seconds: 3 to 5 % of a core.
_POLL_SECONDS = 0.1

_STATES = {
    "ENQUEUED": JobState.QUEUED,
    "DELAYED": JobState.QUEUED,
    "PENDING": JobState.RUNNING,
    "SUCCESS": JobState.DONE,
    "ERROR": JobState.FAILED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}

#: The documented table of DBOS, for the one count that its client has no call for.
_STATUS = sa.table("workflow_status", sa.column("workflow_uuid"), sa.column("queue_name"), sa.column("status"))


class JobFailedError(Exception):
    """Tells the queue that a job ended without a result; the job's row says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the queue says of one job."""

    state: JobState
    ended: datetime | None


class Queue:
    """The side that adds, watches and cancels jobs; safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        _quieten_dbos()
        DBOS.migrate(str(engine.url))
        self._engine = engine
        self._client = DBOSClient(
            system_database_engine=engine, serializer=DBOSPortableJSONSerializer(), application_name=_APPLICATION
        )

    def add(self, session: Session, row: JobRow) -> None:
        """Queue a job in the transaction that inserts its row: both are kept or neither."""
        self._client.enqueue_in_transaction(
            session,
            {
                "queue_name": _QUEUE,
                "workflow_name": _WORKFLOW,
                "workflow_id": row.txid,
                "workflow_id_reuse_policy": "reject",
                "app_version": _VERSION,
                # One partition a client: workers take clients in turn, so nobody waits behind another's hundred jobs.
                "queue_partition_key": row.client,
                # First come, first served. By itself DBOS orders by whole seconds on SQLite, then by the id.
                "priority": row.number,
            },
            row.txid,
        )

    def standing(self, txid: str) -> Standing | None:
        """Where a job stands; None when it was never queued."""
        found = self._list(workflow_ids=[txid])
        if not found:
            return None
        state = _STATES[found[0].status]
        ended = found[0].completed_at
        return Standing(state=state, ended=None if ended is None else datetime.fromtimestamp(ended / 1000, UTC))

    def place(self, row: JobRow) -> int:
        """A queued job's place: 1 is next. Clients take turns, so its own turn may come sooner."""
        ahead = (
            sa.select(sa.func.count())
            .select_from(JobRow)
            .join(_STATUS, _STATUS.c.workflow_uuid == JobRow.txid)
            .where(_STATUS.c.queue_name == _QUEUE, _STATUS.c.status == "ENQUEUED", JobRow.number < row.number)
        )
        with self._engine.connect() as connection:
            return 1 + (connection.scalar(ahead) or 0)

    def cancel(self, txid: str) -> None:
        """Take a job off the queue, or have its worker stop it within a second or two; an ended job stays as it is."""
        self._client.cancel_workflow(txid)

    def take_back(self, slots: Collection[int]) -> int:
        """Put the jobs that were in the hands of other slots than these back on the queue, and say how many.

        For a service that starts with fewer workers than it had; those that have a worker are its own to take back.
        """
        running = self._list(status="PENDING")
        lost = [job.workflow_id for job in running if job.executor_id not in {_executor(slot) for slot in slots}]
        for txid in lost:
            self._client.resume_workflow(txid, queue_name=_QUEUE)
        return len(lost)

    def _list(self, *, workflow_ids: list[str] | None = None, status: str | None = None) -> list[WorkflowStatus]:
        # Input and output stay unread: the states are all that is asked of them.
        return self._client.list_workflows(
            workflow_ids=workflow_ids, status=status, load_input=False, load_output=False
        )


async def work(engine: sa.Engine, slot: int, run: Callable[[str], Awaitable[None]]) -> None:
    """Take jobs one by one and run them on this event loop, until the process ends.

    `run` gets the transaction id. It returns when the job has a result, raises JobFailedError when it has a failure,
    and is cancelled when the job is.
    """
    config: DBOSConfig = {
        "name": _APPLICATION,
        "system_database_url": str(engine.url),
        "system_database_engine": engine,
        "application_version": _VERSION,
        # The same after a restart: start-up recovery takes back what this slot had in hand.
        "executor_id": _executor(slot),
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
    }
    DBOS(config=config)
    _quieten_dbos()

    @DBOS.step(name=_WORKFLOW, preemptible=True)
    async def step(txid: str) -> None:
        await run(txid)

    # Its own limit is off: it would count the attempts since the last resume only. `jobs.worker` counts them all.
    @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)
    async def workflow(txid: str) -> None:
        await step(txid)

    # Launched while this loop runs, DBOS runs the workflows on it: on the main thread, whose end is the process's.
    # A child that is to die with its parent dies with the thread that started it.
    DBOS.launch()
    await DBOS.register_queue_async(
        _QUEUE, worker_concurrency=1, partition_worker_concurrency=1, polling_interval_sec=_POLL_SECONDS
    )


def _quieten_dbos() -> None:
    log = logging.getLogger("dbos")
    log.setLevel(logging.WARNING)
    log.addFilter(_is_a_fault)


def _is_a_fault(record: logging.LogRecord) -> bool:
    # A failed job is an ordinary end, noted in its row; DBOS would log it as an error, with a traceback.
    return not (record.exc_info and isinstance(record.exc_info[1], JobFailedError))


def _executor(slot: int) -> str:
    return f"worker-{slot}"

"""What the HTTP side may do with jobs: submit, look, list, cancel, delete.

Not here: files (`storage`), keys (`jobs.keys`), and which rows are on a page of a list (`jobs.listing`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from coppice.errors import IdempotencyConflict, InternalError, UnknownTransaction
from coppice.jobs import executors, listing, metrics, queries, quota
from coppice.jobs.database import open_database
from coppice.jobs.now import Look
from coppice.jobs.queue import Queue, Standing
from coppice.jobs.tables import JobRow
from coppice.jobs.turns import RANKS, take_turn
from coppice.records.job import Entry, Glance, Job, JobState, StoredArtifact, Wanted
from coppice.records.report import Failure, Progress
from coppice.records.request import Request
from coppice.records.terms import Terms
from coppice.settings import Settings
from coppice.storage import StoredFile, is_txid

_ORDINARY = Terms()


class Desk:
    """The jobs of one data folder, each shown to its own client only; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._engine = open_database(settings)
        self._queue = Queue(self._engine)
        self._settings = settings
        #: For metrics and readiness, which are about no client's jobs.
        self.look = Look(settings, self._engine, self._queue)
        self._retention = timedelta(seconds=settings.retention_seconds)

    def refuse_over_quota(self, client: str, size: int) -> None:
        """Raise QuotaExceeded when a job with that many bytes would be refused as things are now."""
        with Session(self._engine) as session:
            quota.look(session, client, self._settings, size)

    def submit(
        self,
        *,
        txid: str,
        client: str,
        request: Request,
        uploads: Sequence[StoredFile],
        terms: Terms = _ORDINARY,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
    ) -> str:
        """Accept a job whose files are stored. When this returns, the job is on disk and will end.

        Returns its transaction id. Where the client has used the key before, that of the job which it sent then; its
        files are not touched. Raises IdempotencyConflict where that was another call.
        """
        rank = RANKS[terms.priority]
        row = JobRow(
            txid=txid,
            client=client,
            request=request.model_dump(mode="json"),
            terms=terms.model_dump(mode="json"),
            queue=terms.queue,
            rank=rank,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            stored_bytes=sum(upload.size for upload in uploads),
            uploads=[asdict(upload) for upload in uploads],
            submitted=datetime.now(UTC),
        )
        try:
            with Session(self._engine) as session, session.begin():
                first = _first(session, client, idempotency_key, fingerprint)
                if first is not None:
                    return first
                quota.check(session, client, self._settings, row.stored_bytes)
                row.turn = take_turn(session, client=client, queue=terms.queue, rank=rank)
                session.add(row)
                session.flush()
                self._queue.add(session, row)
        except IntegrityError:
            # Two calls with one key at once, on PostgreSQL: the other has been committed by now.
            with Session(self._engine) as session:
                first = _first(session, client, idempotency_key, fingerprint)
            if first is None:
                raise
            return first
        return txid

    def job(self, txid: str, client: str) -> Job:
        """One job as it stands now; raises UnknownTransaction, for another client's, too."""
        # Only what is one is looked up: PostgreSQL takes no text with a NUL in it.
        if not is_txid(txid):
            raise _unknown()
        # The queue is asked first: a job that it calls ended then has its end in the row, never the other way round.
        standing = self._queue.standing(txid)
        with Session(self._engine) as session:
            row = queries.job_of_client(session, txid, client)
        if row is None:
            raise _unknown()
        return self._shown(row, standing)

    def cancel(self, txid: str, client: str) -> None:
        """Stop a job that has not ended; one that has stays as it is. Raises UnknownTransaction as `job` does."""
        job = self.job(txid, client)
        if job.state.ended:
            return
        self._queue.cancel(txid)
        standing = self._queue.standing(txid)
        if standing is not None and standing.state is JobState.CANCELLED:
            with Session(self._engine) as session, session.begin():
                noted = queries.note_end(session, txid, standing.ended or datetime.now(UTC))
            if noted:
                metrics.job_ended({"task": job.request.task, "framework": job.request.framework}, "cancelled")

    def delete(self, txid: str, client: str) -> None:
        """Forget a job, stopping it first where it has not ended. Its files are the caller's to delete, after this.

        Raises UnknownTransaction as `job` does.
        """
        self.job(txid, client)
        self._queue.cancel(txid)
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            row = queries.job_of_client(session, txid, client)
            if row is None or not queries.delete_job(session, txid):
                return  # by another call at the same time
        if not row.attempts or row.filename is not None or row.failure is not None:
            self._queue.forget([txid])
        # Else a worker may have it in its hands, and is to see there that it was cancelled: the sweep forgets it.

    def jobs(self, client: str, wanted: Wanted) -> tuple[Entry, ...]:
        """A client's jobs, newest first."""
        with Session(self._engine) as session:
            rows = listing.page(session, client, wanted, datetime.now(UTC) - self._retention)
        standings = self._queue.standings([row.txid for row in rows if row.finished is None])
        return tuple(
            self._listed(row, standings.get(row.txid)) for row in rows if row.finished or row.txid in standings
        )

    def glances(self, txids: Collection[str]) -> Mapping[str, Glance]:
        """What of jobs changes while somebody watches; those that are not there are left out."""
        standings = self._queue.standings(txids)
        with Session(self._engine) as session:
            rows = queries.jobs(session, txids)
        return {
            row.txid: Glance(state=state, progress=_progress(row, state))
            for row in rows
            if (standing := standings.get(row.txid)) is not None
            for state in (self._state(row, standing),)
        }

    def _listed(self, row: JobRow, standing: Standing | None) -> Entry:
        state = self._state(row, standing)
        return Entry(
            txid=row.txid,
            number=row.number,
            request=Request.model_validate(row.request),
            terms=Terms.model_validate(row.terms),
            state=state,
            submitted=row.submitted,
            finished=_ended(row, state, standing),
            progress=_progress(row, state),
            filename=row.filename if state is JobState.DONE else None,
            code=_failure(row).code if state is JobState.FAILED else None,
            stored_bytes=row.stored_bytes,
        )

    def _shown(self, row: JobRow, standing: Standing | None) -> Job:
        state = self._state(row, standing)
        done, queued = state is JobState.DONE, state is JobState.QUEUED
        return Job(
            txid=row.txid,
            client=row.client,
            request=Request.model_validate(row.request),
            state=state,
            submitted=row.submitted,
            finished=_ended(row, state, standing),
            expires=row.finished + self._retention if done and row.finished else None,
            progress=_progress(row, state),
            place=self._queue.place(row) if queued else None,
            unattended=queued and self._unattended(row.queue),
            failure=_failure(row) if state is JobState.FAILED else None,
            summary=row.summary if done else None,
            filename=row.filename if done else None,
            artifacts=tuple(StoredArtifact.model_validate(stored) for stored in row.artifacts) if done else (),
        )

    def _unattended(self, queue: str) -> bool:
        """Whether no worker of a queue is alive. On one machine the service starts its workers again by itself."""
        if not self._settings.fleet:
            return False
        with Session(self._engine) as session:
            return not executors.attended(session, queue, self._settings.dead_after_seconds)

    def _state(self, row: JobRow, standing: Standing | None) -> JobState:
        """The row's commit is what ends a job; until then the queue says where it is.

        A worker that is killed between that commit and the queue's own note of it leaves the two apart for a while.
        """
        if row.finished is None:
            if standing is None:
                raise RuntimeError(f"transaction {row.txid} is not in the queue")
            return standing.state
        if row.filename is not None:
            return JobState.EXPIRED if row.finished + self._retention <= datetime.now(UTC) else JobState.DONE
        return JobState.CANCELLED if row.failure is None else JobState.FAILED


def _unknown() -> UnknownTransaction:
    return UnknownTransaction("No transaction submitted for txid", field="txid")


def _ended(row: JobRow, state: JobState, standing: Standing | None) -> datetime | None:
    if not state.ended:
        return None
    return row.finished or (standing.ended if standing else None)


def _progress(row: JobRow, state: JobState) -> Progress | None:
    return Progress.model_validate(row.progress) if state is JobState.RUNNING and row.progress else None


def _first(session: Session, client: str, idempotency_key: str | None, fingerprint: str | None) -> str | None:
    """The transaction that a client's key names already; raises IdempotencyConflict where it was another call."""
    row = None if idempotency_key is None else queries.job_by_key(session, client, idempotency_key)
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise IdempotencyConflict(
            "The Idempotency-Key was used before, for another call: other parameters, or other files. Take a new key "
            "for a new job.",
            field="Idempotency-Key",
        )
    return row.txid


def _failure(row: JobRow) -> Failure:
    if row.failure is not None:
        return Failure.model_validate(row.failure)
    error = InternalError("The service failed on this job. Send it again.")
    return Failure(code=error.code, message=error.message)

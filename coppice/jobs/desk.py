"""What the HTTP side may do with jobs: submit, look, cancel. Not here: files (`storage`) and keys (`jobs.keys`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from coppice.errors import InternalError, UnknownTransaction
from coppice.jobs import queries
from coppice.jobs.database import open_database
from coppice.jobs.queue import Queue, Standing
from coppice.jobs.tables import JobRow
from coppice.records.job import Job, JobState, StoredArtifact
from coppice.records.report import Failure, Progress
from coppice.records.request import Request
from coppice.settings import Settings
from coppice.storage import StoredFile


class Desk:
    """The jobs of one data folder, each shown to its own client only; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._engine = open_database(settings)
        self._queue = Queue(self._engine)
        self._retention = timedelta(seconds=settings.retention_seconds)

    def submit(self, *, txid: str, client: str, request: Request, uploads: Sequence[StoredFile]) -> None:
        """Accept a job whose files are stored. When this returns, the job is on disk and will end."""
        row = JobRow(
            txid=txid,
            client=client,
            request=request.model_dump(mode="json"),
            uploads=[asdict(upload) for upload in uploads],
            submitted=datetime.now(UTC),
        )
        with Session(self._engine) as session, session.begin():
            session.add(row)
            session.flush()
            self._queue.add(session, row)

    def job(self, txid: str, client: str) -> Job:
        """One job as it stands now; raises UnknownTransaction, for another client's, too."""
        # The queue is asked first: a job that it calls done then has its result in the row, never the other way round.
        standing = self._queue.standing(txid)
        with Session(self._engine) as session:
            row = queries.job_of_client(session, txid, client)
        if row is None:
            raise UnknownTransaction("No transaction submitted for txid", field="txid")
        if standing is None:
            raise InternalError(f"transaction {txid} is not in the queue")
        return self._shown(row, standing)

    def cancel(self, txid: str, client: str) -> None:
        """Stop a job that has not ended; one that has stays as it is. Raises UnknownTransaction as `job` does."""
        if self.job(txid, client).state not in (JobState.QUEUED, JobState.RUNNING):
            return
        self._queue.cancel(txid)
        standing = self._queue.standing(txid)
        if standing is not None and standing.state is JobState.CANCELLED:
            with Session(self._engine) as session, session.begin():
                queries.note_end(session, txid, standing.ended or datetime.now(UTC))

    def _shown(self, row: JobRow, standing: Standing) -> Job:
        state, ended = standing.state, None
        if state not in (JobState.QUEUED, JobState.RUNNING):
            ended = row.finished or standing.ended
        if state is JobState.DONE and ended is not None and ended + self._retention <= datetime.now(UTC):
            state = JobState.EXPIRED
        done = state is JobState.DONE
        return Job(
            txid=row.txid,
            client=row.client,
            request=Request.model_validate(row.request),
            state=state,
            submitted=row.submitted,
            finished=ended,
            progress=Progress.model_validate(row.progress) if state is JobState.RUNNING and row.progress else None,
            place=self._queue.place(row) if state is JobState.QUEUED else None,
            failure=_failure(row) if state is JobState.FAILED else None,
            summary=row.summary if done else None,
            filename=row.filename if done else None,
            artifacts=tuple(StoredArtifact.model_validate(stored) for stored in row.artifacts) if done else (),
        )


def _failure(row: JobRow) -> Failure:
    if row.failure is not None:
        return Failure.model_validate(row.failure)
    error = InternalError("The service failed on this job. Send it again.")
    return Failure(code=error.code, message=error.message)

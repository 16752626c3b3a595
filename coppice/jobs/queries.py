"""Every query on our tables, named. A change of state is one conditional UPDATE whose row count is checked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Update, select, update
from sqlalchemy.orm import Session

from coppice.jobs.tables import JobRow, KeyRow
from coppice.records.job import StoredArtifact
from coppice.records.report import Failure, Progress


def job(session: Session, txid: str) -> JobRow | None:
    """One job, whoever sent it."""
    return session.scalar(select(JobRow).where(JobRow.txid == txid))


def job_of_client(session: Session, txid: str, client: str) -> JobRow | None:
    """One job, if it is this client's."""
    return session.scalar(select(JobRow).where(JobRow.txid == txid, JobRow.client == client))


def begin_attempt(session: Session, txid: str) -> JobRow | None:
    """Count one more start of a job that has not ended; the row with the new number, or None when it has ended."""
    return session.scalar(
        update(JobRow)
        .where(JobRow.txid == txid, JobRow.finished.is_(None))
        .values(attempts=JobRow.attempts + 1, progress=None)
        .returning(JobRow)
    )


def hand_back_attempt(session: Session, txid: str) -> bool:
    """Don't count the last start of a job that has not ended."""
    return _changed(session, _unfinished(txid).values(handed_back=JobRow.handed_back + 1, progress=None))


def save_progress(session: Session, txid: str, attempt: int, progress: Progress) -> bool:
    """Show how far the running attempt is."""
    return _changed(session, _running(txid, attempt).values(progress=progress.model_dump(mode="json")))


def publish(
    session: Session,
    txid: str,
    attempt: int,
    *,
    finished: datetime,
    summary: str,
    filename: str,
    artifacts: tuple[StoredArtifact, ...],
) -> bool:
    """Make a result public. False when the job has ended otherwise, or a later attempt has taken over."""
    stored = [artifact.model_dump(mode="json") for artifact in artifacts]
    return _changed(
        session,
        _running(txid, attempt).values(finished=finished, summary=summary, filename=filename, artifacts=stored),
    )


def fail(session: Session, txid: str, attempt: int, *, finished: datetime, failure: Failure) -> bool:
    """End a job without a result. False when it has ended otherwise, or a later attempt has taken over."""
    return _changed(session, _running(txid, attempt).values(finished=finished, failure=failure.model_dump(mode="json")))


def note_end(session: Session, txid: str, finished: datetime) -> bool:
    """Note when the queue ended a job, as by cancelling it; no attempt publishes after that."""
    return _changed(session, _unfinished(txid).values(finished=finished))


def past_retention(session: Session, cutoff: datetime) -> list[str]:
    """Jobs that ended before the cutoff and still have files."""
    return list(session.scalars(select(JobRow.txid).where(JobRow.finished < cutoff, JobRow.swept.is_(None))))


def unfinished_since(session: Session, cutoff: datetime) -> list[str]:
    """Jobs that were sent before the cutoff and have not ended."""
    return list(session.scalars(select(JobRow.txid).where(JobRow.submitted < cutoff, JobRow.finished.is_(None))))


def mark_swept(session: Session, txid: str, when: datetime) -> bool:
    """Note that a job's files are gone."""
    return _changed(session, update(JobRow).where(JobRow.txid == txid, JobRow.swept.is_(None)).values(swept=when))


def accepted(session: Session, txids: Collection[str]) -> frozenset[str]:
    """Which of these transactions were accepted."""
    return frozenset(session.scalars(select(JobRow.txid).where(JobRow.txid.in_(txids))))


def key(session: Session, client_id: str) -> KeyRow | None:
    """One API key that is in force."""
    return session.scalar(select(KeyRow).where(KeyRow.client_id == client_id, KeyRow.revoked.is_(None)))


def keys(session: Session) -> list[KeyRow]:
    """Every API key, oldest first."""
    return list(session.scalars(select(KeyRow).order_by(KeyRow.created)))


def revoke_key(session: Session, client_id: str, when: datetime) -> bool:
    """Take an API key out of force. False when there is none of that id, or it is revoked already."""
    in_force = update(KeyRow).where(KeyRow.client_id == client_id, KeyRow.revoked.is_(None))
    return _changed(session, in_force.values(revoked=when))


def _unfinished(txid: str) -> Update:
    return update(JobRow).where(JobRow.txid == txid, JobRow.finished.is_(None))


def _running(txid: str, attempt: int) -> Update:
    return _unfinished(txid).where(JobRow.attempts == attempt)


def _changed(session: Session, statement: Update) -> bool:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1

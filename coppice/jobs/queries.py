"""Every query on our tables, named. A change of state is one conditional UPDATE whose row count is checked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Delete, Update, delete, select, text, update
from sqlalchemy.orm import Session, load_only

from coppice.jobs.tables import JobRow, KeyRow, WebhookRow
from coppice.records.job import StoredArtifact
from coppice.records.report import Failure, Progress


def job(session: Session, txid: str) -> JobRow | None:
    """One job, whoever sent it."""
    return session.scalar(select(JobRow).where(JobRow.txid == txid))


def job_of_client(session: Session, txid: str, client: str) -> JobRow | None:
    """One job, if it is this client's."""
    return session.scalar(select(JobRow).where(JobRow.txid == txid, JobRow.client == client))


def jobs(session: Session, txids: Collection[str]) -> list[JobRow]:
    """Some jobs, as far as their state and progress go."""
    shown = (JobRow.txid, JobRow.finished, JobRow.filename, JobRow.failure, JobRow.progress)
    return list(
        session.scalars(select(JobRow).where(JobRow.txid.in_(txids)).options(load_only(*shown, raiseload=True)))
    )


def job_by_key(session: Session, client: str, idempotency_key: str) -> JobRow | None:
    """The job that a client named so when it was sent."""
    return session.scalar(select(JobRow).where(JobRow.client == client, JobRow.idempotency_key == idempotency_key))


def delete_job(session: Session, txid: str) -> bool:
    """Remove a job. No attempt of it begins or publishes after that."""
    session.execute(delete(WebhookRow).where(WebhookRow.txid == txid))
    return changed(session, delete(JobRow).where(JobRow.txid == txid))


def begin_attempt(session: Session, txid: str) -> JobRow | None:
    """Count one more start of a job that has not ended; the row with the new number, or None when it has ended."""
    return session.scalar(
        update(JobRow)
        .where(JobRow.txid == txid, JobRow.finished.is_(None))
        .values(attempts=JobRow.attempts + 1, progress=None, started=datetime.now(UTC))
        .returning(JobRow)
    )


def hand_back_attempt(session: Session, txid: str, attempt: int) -> bool:
    """Don't count a start of a job that has not ended, whether or not it was started again since."""
    lost = _unfinished(txid).where(JobRow.attempts >= attempt)
    return changed(session, lost.values(handed_back=JobRow.handed_back + 1))


def save_progress(session: Session, txid: str, attempt: int, progress: Progress) -> bool:
    """Show how far the running attempt is."""
    return changed(session, _running(txid, attempt).values(progress=progress.model_dump(mode="json")))


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
    # The uploads are deleted next; what is stored from here on is the result.
    size = sum(artifact.size for artifact in artifacts)
    ended = _running(txid, attempt).values(
        finished=finished, summary=summary, filename=filename, artifacts=stored, stored_bytes=size
    )
    return _end(session, txid, ended)


def fail(session: Session, txid: str, attempt: int, *, finished: datetime, failure: Failure) -> bool:
    """End a job without a result. False when it has ended otherwise, or a later attempt has taken over."""
    told = failure.model_dump(mode="json")
    ended = _running(txid, attempt).values(finished=finished, failure=told, stored_bytes=0)
    return _end(session, txid, ended)


def note_end(session: Session, txid: str, finished: datetime) -> bool:
    """Note when the queue ended a job, as by cancelling it; no attempt publishes after that."""
    return _end(session, txid, _unfinished(txid).values(finished=finished))


def mark_swept(session: Session, txid: str, when: datetime) -> bool:
    """Note that a job's files are gone."""
    return changed(session, update(JobRow).where(JobRow.txid == txid, JobRow.swept.is_(None)).values(swept=when))


def key(session: Session, client_id: str) -> KeyRow | None:
    """One API key that is in force."""
    return session.scalar(select(KeyRow).where(KeyRow.client_id == client_id, KeyRow.revoked.is_(None)))


def keys(session: Session) -> list[KeyRow]:
    """Every API key, oldest first."""
    return list(session.scalars(select(KeyRow).order_by(KeyRow.created)))


def revoke_key(session: Session, client_id: str, when: datetime) -> bool:
    """Take an API key out of force. False when there is none of that id, or it is revoked already."""
    in_force = update(KeyRow).where(KeyRow.client_id == client_id, KeyRow.revoked.is_(None))
    return changed(session, in_force.values(revoked=when))


def expire_key(session: Session, client_id: str, when: datetime) -> bool:
    """Let an API key that is not revoked end then. False when there is none of that id."""
    in_force = update(KeyRow).where(KeyRow.client_id == client_id, KeyRow.revoked.is_(None))
    return changed(session, in_force.values(expires=when))


def keep_secret(session: Session, name: str, value: str) -> None:
    """Keep a secret under a name that has none; one that is there stays."""
    # The same words on both databases.
    session.execute(
        text("INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING"),
        {"name": name, "value": value},
    )


def _end(session: Session, txid: str, statement: Update) -> bool:
    """End a job, and have told of it whoever asked for that: in one transaction, or not at all."""
    if not changed(session, statement):
        return False
    terms = session.scalar(select(JobRow.terms).where(JobRow.txid == txid))
    if terms and terms.get("webhook"):
        session.add(WebhookRow(txid=txid, url=terms["webhook"], due=datetime.now(UTC)))
    return True


def _unfinished(txid: str) -> Update:
    return update(JobRow).where(JobRow.txid == txid, JobRow.finished.is_(None))


def _running(txid: str, attempt: int) -> Update:
    return _unfinished(txid).where(JobRow.attempts == attempt)


def changed(session: Session, statement: Update | Delete) -> bool:
    """Make a change of one row; whether it was made."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1

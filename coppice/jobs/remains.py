"""Every query of the sweep: which jobs' files and rows have had their time, and what of a store belongs to none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import Session

from coppice.jobs.queue import transactions
from coppice.jobs.tables import JobRow, WebhookRow
from coppice.records.job import JobState, StoredArtifact
from coppice.storage import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What the row of a job says of its files."""

    finished: datetime | None
    swept: bool
    published: frozenset[str]  # keys

    def ended(self, before: datetime) -> bool:
        """Whether the job had ended before a moment."""
        return self.finished is not None and self.finished < before

    def keeps(self, folder: Folder) -> bool:
        """Whether what is there is the job's result, and not past its retention."""
        return not self.swept and any(key.startswith(f"{folder.prefix}/") for key in self.published)


def past_retention(session: Session, cutoff: datetime, most: int) -> list[str]:
    """Jobs that ended before the cutoff and still have files."""
    old = select(JobRow.txid).where(JobRow.finished < cutoff, JobRow.swept.is_(None))
    return list(session.scalars(old.order_by(JobRow.finished).limit(most)))


def past_record(session: Session, cutoff: datetime, most: int) -> list[str]:
    """Jobs that ended before the cutoff and have no files any more."""
    old = select(JobRow.txid).where(JobRow.finished < cutoff, JobRow.swept.is_not(None))
    return list(session.scalars(old.order_by(JobRow.finished).limit(most)))


def unnoted_ends(session: Session, cutoff: datetime, most: int) -> list[JobRow]:
    """Jobs that were sent before the cutoff and have ended by the queue's word alone."""
    ended = [
        JobRow.txid.in_(transactions(session.connection(), state))
        for state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
    ]
    found = select(JobRow).where(JobRow.finished.is_(None), JobRow.submitted < cutoff, ended[0] | ended[1] | ended[2])
    return list(session.scalars(found.limit(most)))


def forget_jobs(session: Session, txids: Collection[str]) -> int:
    """Delete jobs, and the webhooks that were to tell of their ends; how many there were."""
    session.execute(delete(WebhookRow).where(WebhookRow.txid.in_(txids)))
    gone = session.execute(delete(JobRow).where(JobRow.txid.in_(txids)))
    return cast("CursorResult[Any]", gone).rowcount


def owners(session: Session, txids: Collection[str]) -> Mapping[str, Owner]:
    """Which of these transactions have a row, and what it says of their files."""
    found = select(JobRow.txid, JobRow.finished, JobRow.swept, JobRow.artifacts).where(JobRow.txid.in_(txids))
    return {
        txid: Owner(
            finished=finished,
            swept=swept is not None,
            published=frozenset(StoredArtifact.model_validate(artifact).key for artifact in artifacts),
        )
        for txid, finished, swept, artifacts in session.execute(found)
    }

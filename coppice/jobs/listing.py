"""A client's jobs, page by page: the newest first, of a state, a task, a framework, or since a moment.

A page is asked for by the number of the job before it, so it costs the same wherever it is, and what is sent meanwhile
moves nothing. Not here: what is shown of a job (`jobs.desk`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, load_only

from coppice.jobs.queue import transactions
from coppice.jobs.tables import JobRow
from coppice.records.job import JobState, Wanted

#: What a list shows. The others can be long: a summary has a line for every layer.
_SHOWN = (
    *(JobRow.txid, JobRow.number, JobRow.client, JobRow.request, JobRow.terms, JobRow.submitted, JobRow.finished),
    *(JobRow.progress, JobRow.filename, JobRow.failure, JobRow.stored_bytes),
)


def page(session: Session, client: str, wanted: Wanted, expired: datetime) -> list[JobRow]:
    """At most `wanted.limit` rows; results of jobs that ended before `expired` are past their retention."""
    found = sa.select(JobRow).where(JobRow.client == client).options(load_only(*_SHOWN, raiseload=True))
    if wanted.txid is not None:
        found = found.where(JobRow.txid == wanted.txid)
    if wanted.before is not None:
        found = found.where(JobRow.number < wanted.before)
    if wanted.since is not None:
        found = found.where(JobRow.submitted >= wanted.since)
    if wanted.task is not None:
        found = found.where(JobRow.request["task"].as_string() == wanted.task.value)
    if wanted.framework is not None:
        found = found.where(JobRow.request["framework"].as_string() == wanted.framework.value)
    if wanted.state is not None:
        found = found.where(_in_state(session.connection(), wanted.state, expired))
    return list(session.scalars(found.order_by(JobRow.number.desc()).limit(wanted.limit)))


def _in_state(connection: sa.Connection, state: JobState, expired: datetime) -> sa.ColumnElement[bool]:
    """As `jobs.desk` tells it: by the row where that says the end, else by the queue."""
    done, failed = JobRow.filename.is_not(None), JobRow.failure.is_not(None)
    ends: dict[JobState, sa.ColumnElement[bool]] = {
        JobState.DONE: sa.and_(done, JobRow.finished > expired),
        JobState.EXPIRED: sa.and_(done, JobRow.finished <= expired),
        JobState.FAILED: failed,
        JobState.CANCELLED: sa.and_(~done, ~failed),
    }
    by_queue: sa.ColumnElement[Any] = JobRow.txid.in_(transactions(connection, state))
    by_queue = sa.and_(JobRow.finished.is_(None), by_queue)
    return by_queue if state not in ends else sa.or_(sa.and_(JobRow.finished.is_not(None), ends[state]), by_queue)

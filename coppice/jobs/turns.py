"""Whose turn it is: clients share a queue fairly, and each orders its own jobs by priority.

Start-time fair queueing with jobs of equal length (Goyal, Vin, Cheng, Start-time Fair Queueing, IEEE/ACM Transactions
on Networking 5(5), 1997, equations 4 and 5): a job's turn is the present round, or one after the client's last where
that is later, and the lowest turn goes first. A client with a hundred jobs waiting takes the next hundred rounds; the
first job of another takes the present one, so it waits for what runs and for nothing of that hundred.

The priority moves a job among its client's own turns only, so that it can't take anything from others.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from coppice.jobs.queue import running, set_order, waits
from coppice.jobs.tables import JobRow
from coppice.records.terms import Priority

#: Lower goes first.
RANKS = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


def take_turn(session: Session, *, client: str, queue: str, rank: int) -> int:
    """The turn of a new job, in the transaction that adds it; the client's less urgent jobs move up by one each."""
    tail = max(_present(session, queue), _last(session, client, queue) + 1)
    behind = _behind(session, client=client, queue=queue, rank=rank)
    if not behind:
        return tail
    turns = [*(turn for _txid, turn in behind[1:]), tail]
    moved = {txid: turn for (txid, _turn), turn in zip(behind, turns, strict=True)}
    # By their keys, one by one: a thousand take milliseconds, where a statement that joins the two tables took seconds
    # while PostgreSQL had no statistics of them yet.
    session.connection().execute(
        sa.update(JobRow).where(JobRow.txid == sa.bindparam("moved")).values(turn=sa.bindparam("to")),
        [{"moved": txid, "to": turn} for txid, turn in moved.items()],
    )
    set_order(session, moved)
    return behind[0][1]


def _present(session: Session, queue: str) -> int:
    """The present round: the latest that runs, or where nothing runs the first that waits, or the first of all."""
    runs = JobRow.txid.in_(running(session.connection(), queue))
    latest = session.scalar(sa.select(sa.func.max(JobRow.turn)).where(runs))
    if latest is None:
        unfinished = sa.select(sa.func.min(JobRow.turn)).where(JobRow.queue == queue, JobRow.finished.is_(None))
        latest = session.scalar(unfinished)
    return latest or 1


def _last(session: Session, client: str, queue: str) -> int:
    own = (JobRow.client == client, JobRow.queue == queue, JobRow.finished.is_(None))
    return session.scalar(sa.select(sa.func.max(JobRow.turn)).where(*own)) or 0


def _behind(session: Session, *, client: str, queue: str, rank: int) -> list[tuple[str, int]]:
    """The client's waiting jobs that are less urgent, in their order: transaction and turn."""
    own = (JobRow.client == client, JobRow.queue == queue, JobRow.finished.is_(None), JobRow.rank > rank)
    found = session.execute(
        sa.select(JobRow.txid, JobRow.turn)
        .where(*own, waits(session.connection(), JobRow.txid))
        .order_by(JobRow.turn, JobRow.number)
    )
    return [(txid, turn) for txid, turn in found]

"""What a client may have at once: counted where the job is accepted, so that two calls don't take one place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from coppice.errors import QuotaExceeded
from coppice.jobs import queries, quota
from coppice.jobs.database import open_database
from coppice.jobs.desk import Desk
from coppice.records.job import StoredArtifact
from coppice.records.report import Artifact
from coppice.settings import Settings
from coppice.storage import StoredFile
from tests.jobs.job_processes import REQUEST


def submit(desk: Desk, size: int = 10, client: str = "ann") -> str:
    txid = str(uuid4())
    file = StoredFile(key=f"uploads/{txid}/model/net.h5", size=size, sha256="0" * 64)
    return desk.submit(txid=txid, client=client, request=REQUEST, uploads=[file])


def settings_of(folder: Path, **given: int) -> Settings:
    return Settings(data_dir=folder).model_copy(update=given)


def test_jobs_that_have_not_ended_count_and_others_do_not(tmp_path: Path) -> None:
    desk = Desk(settings_of(tmp_path, jobs_per_client=2))
    first, _second = submit(desk), submit(desk)
    with pytest.raises(QuotaExceeded, match=r"2 jobs of yours.*2 are allowed.*cancel") as refused:
        submit(desk)
    assert refused.value.retry_after > 0
    submit(desk, client="bob")
    desk.cancel(first, "ann")
    submit(desk)


def test_bytes_count_until_they_are_deleted(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, bytes_per_client=100, retention_seconds=5000)
    desk, engine = Desk(settings), open_database(settings)
    txid = submit(desk, 60)
    with pytest.raises(QuotaExceeded, match=r"60 bytes.*this upload has 41.*100 are allowed.*[Dd]elete"):
        submit(desk, 41)
    with Session(engine) as session, session.begin():
        begun = queries.begin_attempt(session, txid)
        assert begun is not None
        artifact = Artifact(name="model", file="m.h5", media_type="application/octet-stream")
        stored = StoredArtifact(artifact=artifact, key="k", size=95, sha256="0" * 64)
        ended = datetime.now(UTC) - timedelta(seconds=1000)
        assert queries.publish(session, txid, 1, finished=ended, summary="", filename="m.h5", artifacts=(stored,))
        assert quota.used(session, "ann") == quota.Used(jobs=0, bytes=95)
    with pytest.raises(QuotaExceeded) as refused:
        submit(desk, 6)
    # The truth: the result goes when its retention is over.
    assert 3900 < refused.value.retry_after <= 4000
    with Session(engine) as session, session.begin():
        queries.mark_swept(session, txid, datetime.now(UTC))
    submit(desk, 100)


def test_of_many_calls_at_once_exactly_as_many_pass_as_there_are_places(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, jobs_per_client=3)
    desks = [Desk(settings) for _ in range(4)]

    def send(number: int) -> bool:
        try:
            submit(desks[number % 4])
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(16))) == [False] * 13 + [True] * 3


def test_both_counts_are_read_from_indexes_of_their_own(tmp_path: Path) -> None:
    """With a week's jobs in the table, no count may walk over a client's ended or deleted ones."""
    engine = open_database(settings_of(tmp_path))
    plans = {
        "SELECT count(*) FROM jobs WHERE client = 'ann' AND finished IS NULL": "INDEX ix_jobs_unfinished (client=?",
        # Of these there may be ten thousand: the rows themselves, with all that was asked for, are not read.
        "SELECT sum(stored_bytes) FROM jobs WHERE client = 'ann' AND swept IS NULL": "COVERING INDEX ix_jobs_stored",
    }
    with engine.connect() as connection:
        for query, used in plans.items():
            assert used in str(connection.execute(sa.text(f"EXPLAIN QUERY PLAN {query}")).all())

"""The audit log: kept whole through an outage, bounded, in order, and in the way of nobody."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from coppice.jobs import audit
from coppice.jobs.audit import Audit, Entry, entries
from coppice.jobs.database import open_database
from coppice.jobs.keys import Keys
from coppice.settings import Settings
from tests.jobs.job_processes import until


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return open_database(Settings(data_dir=tmp_path))


def entry(number: int, *, at: datetime | None = None) -> Entry:
    return Entry(at=at or datetime.now(UTC), client="ann", action="submit", txid=str(number), outcome="ok")


def written(engine: sa.Engine) -> list[str | None]:
    with Session(engine) as session:
        return [found.txid for found in entries(session)]


def test_what_was_noted_is_written_in_order_by_the_end(engine: sa.Engine) -> None:
    log = Audit(engine, keep_seconds=3600)

    def note(first: int) -> None:
        for number in range(first, first + 500):
            log.note(entry(number))

    threads = [threading.Thread(target=note, args=(first,)) for first in (0, 500, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = [int(txid or -1) for txid in written(engine)]
    assert sorted(found) == list(range(1500))
    assert [number for number in found if number < 500] == list(range(500))


def test_it_is_written_soon_without_an_end(engine: sa.Engine) -> None:
    log = Audit(engine, keep_seconds=3600)
    log.note(entry(1))
    until(lambda: written(engine) == ["1"], "the entry to be written")
    log.close()


def test_while_the_database_is_away_entries_wait_and_the_oldest_give_way(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "_MOST_WAITING", 10)
    monkeypatch.setattr(audit, "_PAUSE_SECONDS", 0.01)
    away = threading.Event()
    away.set()

    @sa.event.listens_for(engine, "before_cursor_execute")
    def fail(*_: object) -> None:
        if away.is_set():
            raise OperationalError("INSERT", {}, Exception("away"))

    log = Audit(engine, keep_seconds=3600)
    for number in range(15):
        log.note(entry(number))
    until(lambda: "wait: OperationalError" in caplog.text, "a write to fail")
    away.clear()
    until(lambda: len(written(engine)) >= 10, "the entries to be written")
    log.close()
    found = written(engine)
    assert found == sorted(found, key=lambda txid: int(txid or -1))
    assert found[-1] == "14"
    assert len(found) < 15
    assert "were lost" in caplog.text


def test_what_a_caller_made_up_can_not_hold_up_the_log(engine: sa.Engine) -> None:
    log = Audit(engine, keep_seconds=3600)
    log.note(Entry(at=datetime.now(UTC), client="a\0b" * 1000, action="submit", txid="\0", outcome="ok"))
    log.close()
    with Session(engine) as session:
        (found,) = entries(session)
    assert found.txid == "?"
    assert len(found.client) == 200


def test_entries_go_when_their_time_is_over(engine: sa.Engine) -> None:
    log = Audit(engine, keep_seconds=60)
    log.note(entry(1, at=datetime.now(UTC) - timedelta(seconds=61)))
    log.note(entry(2))
    log.close()
    assert written(engine) == ["2"]


def test_what_is_done_to_keys_is_in_the_log_with_it(tmp_path: Path, engine: sa.Engine) -> None:
    keys = Keys(Settings(data_dir=tmp_path))
    first, secret = keys.create("ann")
    second, other = keys.rotate(first, grace=timedelta(days=1))
    keys.revoke(second)
    with Session(engine) as session:
        found = [(one.client, one.client_id, one.action) for one in entries(session)]
        assert found == [("ann", first, "key_created"), ("ann", second, "key_rotated"), ("ann", second, "key_revoked")]
        assert entries(session, client="bob") == []
        assert len(entries(session, last=1)) == 1
        assert entries(session, since=datetime.now(UTC) + timedelta(hours=1)) == []
        assert secret not in str(entries(session)) + other

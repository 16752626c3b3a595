"""Limits, keys, the audit log and webhooks where several processes share one PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.errors import KeyInvalid, QuotaExceeded
from coppice.jobs import rates, webhooks
from coppice.jobs.audit import Audit, Entry, entries
from coppice.jobs.database import database_url, migrate, open_database
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.jobs.queue import migrate_queue
from coppice.jobs.rates import SharedRates
from coppice.records.terms import Terms
from coppice.settings import Settings
from coppice.storage import StoredFile
from tests.fleet.postgres import Server, postgres
from tests.jobs.job_processes import REQUEST

pytestmark = pytest.mark.slow  # a real server


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A database and what is needed to open it."""

    server: Server
    settings: Settings


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    with postgres(folder) as server:
        settings = Settings(data_dir=folder / "data", database_url=server.url)
        migrate(settings)
        migrate_queue(database_url(settings))
        yield Shared(server=server, settings=settings)


def submit(desk: Desk, client: str, terms: Terms | None = None) -> str:
    txid = str(uuid4())
    file = StoredFile(key=f"uploads/{txid}/model/net.h5", size=1, sha256="0" * 64)
    return desk.submit(txid=txid, client=client, request=REQUEST, uploads=[file], terms=terms or Terms())


def test_all_processes_count_together_and_an_outage_refuses_nobody(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A call may wait for the database half a second, which is little on cores that many share.
    monkeypatch.setattr(rates, "_PATIENCE_SECONDS", 20.0)
    first, second = SharedRates(shared.settings), SharedRates(shared.settings)

    async def count(number: int) -> bool:
        return (await (first, second)[number % 2].count("client ann", 5)).granted

    async def crowd() -> list[bool]:
        return await asyncio.gather(*(count(number) for number in range(12)))

    assert sorted(asyncio.run(crowd())) == [False] * 7 + [True] * 5
    refused = asyncio.run(second.count("client ann", 5))
    assert 0 < refused.wait <= 12
    assert not asyncio.run(first.look("client ann", 5)).granted
    assert asyncio.run(first.count("client bob", 5)).remaining == 4
    assert asyncio.run(first.look("client bob", 5)).remaining == 3
    assert asyncio.run(second.count("client bob", 5)).remaining == 3
    engine = open_database(shared.settings)
    with engine.connect() as connection:
        kind = connection.scalar(sa.text("SELECT relpersistence FROM pg_class WHERE relname = 'rates'"))
    engine.dispose()
    assert kind == "u"  # unlogged: no call waits for the disk

    shared.server.kill()
    try:
        begun = time.monotonic()
        for _ in range(20):
            assert asyncio.run(first.count("client ann", 5)).granted
        # One call finds out, and the others don't ask for a while: the bound is that of one, twice over.
        assert time.monotonic() - begun < 2 * 20.0
        assert "calls are not counted" in caplog.text
        assert "password" not in caplog.text
    finally:
        shared.server.start()
    first._away_until = 0.0
    for _ in range(20):  # connections of before the outage each fail once
        asyncio.run(first.count("client cy", 1))
        first._away_until = 0.0
    assert not asyncio.run(first.count("client cy", 1)).granted


def test_of_many_calls_at_once_exactly_as_many_pass_as_there_are_places(shared: Shared) -> None:
    settings = shared.settings.model_copy(update={"jobs_per_client": 3})
    desks = [Desk(settings) for _ in range(2)]

    def send(number: int) -> bool:
        try:
            submit(desks[number % 2], "ann")
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(16))) == [False] * 13 + [True] * 3
    submit(desks[0], "bob")


def test_keys_are_made_by_the_command_and_hold_in_every_process(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPPICE_DATABASE_URL", shared.server.url)
    made = CliRunner().invoke(app, ["keys", "create", "ann", "--expires", "1d"])
    assert made.exit_code == 0, made.output
    words = made.output.split()
    client_id, secret = words[1], words[3]
    serving = Keys(shared.settings)
    assert serving.verify(client_id, secret) == "ann"
    assert CliRunner().invoke(app, ["keys", "revoke", client_id]).exit_code == 0
    with pytest.raises(KeyInvalid):
        serving.verify(client_id, secret)
    with ThreadPoolExecutor(4) as pool:  # whoever asks first makes it, and all are told the same
        assert len(set(pool.map(lambda _: Keys(shared.settings).webhook_secret("ann"), range(4)))) == 1


def test_the_audit_log_takes_what_postgresql_would_not(shared: Shared) -> None:
    engine = open_database(shared.settings)
    log = Audit(engine, keep_seconds=3600)
    log.note(Entry(at=datetime.now(UTC), client="\0", action="submit", txid="a\0b", outcome="ok"))
    log.close()
    with Session(engine) as session:
        assert [entry.txid for entry in entries(session, client="?")] == ["a?b"]
    engine.dispose()


def test_a_webhook_that_is_due_is_claimed_by_one_worker(shared: Shared) -> None:
    desk, engine = Desk(shared.settings), open_database(shared.settings)
    sent = [submit(desk, "cy", Terms(webhook="https://example.org/")) for _ in range(6)]
    for txid in sent:
        desk.cancel(txid, "cy")
    with ThreadPoolExecutor(4) as pool:
        claimed = [txid for found in pool.map(lambda _: webhooks._claim(engine), range(4)) for txid, _tries in found]
    assert sorted(claimed) == sorted(sent)
    engine.dispose()

"""The tables are those that the migrations make, and what an older or newer version left there still works."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from coppice.errors import DatabaseUnavailable, ParameterInvalid
from coppice.jobs.database import migrate, open_database
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.jobs.tables import Table
from coppice.records.job import JobState
from coppice.settings import Settings
from tests.fleet.postgres import Server, postgres
from tests.jobs.job_processes import FINISH, bytes_of, end_of, send, worker

OLD = Path(__file__).with_name("old_service.tar.gz")
#: Longer than the time since the old service ran: what it did is not to be swept.
AGES = 10**9


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """A service of version 0.1, which had no migrations: one job done, two waiting. See make_old_service.py."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path / "data", filter="data")
    return Settings(data_dir=tmp_path / "data", retention_seconds=AGES, record_seconds=AGES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> object:
    with postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def fleet(server: Server, tmp_path: Path) -> Settings:
    """A database of a test's own, not migrated yet."""
    name = f"t{abs(hash(tmp_path)) % 10**9}"
    with sa.create_engine(_driver(server.url), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return Settings(data_dir=tmp_path / "data", database_url=server.url.rpartition("/")[0] + f"/{name}")


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def _differences(engine: sa.Engine) -> list[object]:
    """What distinguishes our tables in the database from those of the code; the queue's don't count."""

    with engine.connect() as connection:
        options = {"version_table": "coppice_version", "include_name": _is_ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Table.metadata))


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in Table.metadata.tables


def test_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    assert _differences(open_database(Settings(data_dir=tmp_path))) == []


def test_the_file_of_a_service_without_migrations_becomes_the_same(old: Settings) -> None:
    assert _differences(open_database(old)) == []


def test_jobs_that_an_older_version_accepted_end_under_this_one(old: Settings) -> None:
    with sa.create_engine(f"sqlite:///{old.data_dir / 'coppice.sqlite'}").connect() as connection:
        jobs = connection.execute(sa.text("SELECT txid, client FROM jobs ORDER BY number")).all()
    desk = Desk(old)
    states = [desk.job(txid, client).state for txid, client in jobs]
    assert states == [JobState.DONE, JobState.QUEUED, JobState.QUEUED]
    assert [desk.job(txid, client).place for txid, client in jobs[1:]] == [1, 2]
    with worker(old):
        ends = [end_of(desk, txid, client=client) for txid, client in jobs]
    for end in ends:
        assert end.state is JobState.DONE
        assert bytes_of(old, end.artifacts[0].key) == b"pruned"


def test_keys_of_an_older_version_stay_in_force(old: Settings) -> None:
    (key,) = Keys(old).list()
    assert (key.name, key.revoked) == ("ann", None)


@pytest.mark.parametrize("url", ["mysql://a:hush@b/c", "hush", "postgresql://a:hush@[::/c"])
def test_a_database_that_is_no_postgresql_is_refused_without_showing_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        open_database(Settings(data_dir=tmp_path, database_url=url))
    assert "postgresql://" in refused.value.message
    assert "hush" not in refused.value.message


def test_a_database_that_nobody_answers_for_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/") as refused:
        open_database(Settings(data_dir=tmp_path, database_url="postgresql://ann:hush@127.0.0.1:1/coppice"))
    assert "hush" not in refused.value.message


@pytest.mark.slow
def test_postgresql_gets_the_same_tables_and_only_from_migrate(fleet: Settings) -> None:
    with pytest.raises(DatabaseUnavailable, match="coppice migrate"):
        open_database(fleet)
    assert migrate(fleet) == migrate(fleet)
    assert _differences(open_database(fleet)) == []


@pytest.mark.slow
def test_processes_of_this_version_work_on_tables_that_a_newer_one_has_added_to(fleet: Settings) -> None:
    migrate(fleet)
    before = Desk(fleet)
    waiting = send(fleet, FINISH)
    with open_database(fleet).begin() as connection:
        connection.execute(sa.text("ALTER TABLE jobs ADD COLUMN of_the_future TEXT"))
        connection.execute(sa.text("UPDATE coppice_version SET version_num = '9999'"))
    assert migrate(fleet) == "9999"
    with worker(fleet):
        assert end_of(before, waiting).state is JobState.DONE
        assert end_of(Desk(fleet), send(fleet, FINISH)).state is JobState.DONE


@pytest.mark.slow
def test_a_transaction_that_nobody_goes_on_with_loses_its_locks(fleet: Settings) -> None:
    """A process that is stopped in the middle of one must not keep the job from those that take it over."""
    migrate(fleet)
    txid = send(fleet, FINISH)
    row = sa.text("UPDATE jobs SET attempts = attempts WHERE txid = :txid")
    with open_database(fleet).connect() as stopped, open_database(fleet).connect() as other:
        stopped.execute(row, {"txid": txid})
        assert other.execute(row, {"txid": txid}).rowcount == 1  # waits for the lock
        with pytest.raises(sa.exc.OperationalError) as lost:
            stopped.execute(row, {"txid": txid})
    assert lost.value.connection_invalidated

"""docs/operations.md: its commands are there, its code does what it says, its backups can be restored."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
import typer.main
import yaml

from coppice.cli.app import app
from coppice.jobs.database import database_url, migrate, open_database
from coppice.jobs.desk import Desk
from coppice.jobs.metrics import OWN
from coppice.jobs.webhooks import signed
from coppice.records.job import JobState
from coppice.settings import Settings
from coppice.storage import StoredFile
from tests.fleet.daemon import missing
from tests.fleet.postgres import postgres
from tests.jobs.job_processes import REQUEST

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def marked(name: str) -> list[str]:
    """The commands of the block that is to be run."""
    (block,) = re.findall(rf"<!-- run: {name} -->\n```console\n(.*?)```", DOCUMENT, re.DOTALL)
    return [line.removeprefix("$ ") for line in block.splitlines()]


def run(commands: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command in commands:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, **(environment or {}), "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, f"{command}: {ran.stderr}"


def submitted(settings: Settings) -> str:
    """A job that waits, with its file in the store."""
    txid = str(uuid4())
    upload = StoredFile(key=f"uploads/{txid}/model/net.h5", size=3, sha256="0" * 64)
    Desk(settings).submit(txid=txid, client="ann", request=REQUEST, uploads=[upload])
    return txid


def test_every_command_of_ours_has_the_flags_that_are_given() -> None:
    known = typer.main.get_command(app)
    given = [
        shlex.split(line)[1:]
        for block in blocks("console")
        for line in re.findall(r"^\$ (?:\.venv/bin/)?(coppice .*)$", block, re.MULTILINE)
    ]
    assert len(given) >= 12
    for words in given:
        command = known
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def test_every_setting_named_exists() -> None:
    named = set(re.findall(r"\bCOPPICE_([A-Z_]*[A-Z])\b", DOCUMENT))
    rows = re.search(r"\| setting \|.*?\n\n", DOCUMENT, re.DOTALL)
    assert rows is not None
    listed = {
        name for row in rows[0].strip().splitlines()[2:] for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])
    }
    assert len(listed) > 8
    assert {name.lower() for name in named} | listed <= set(Settings.model_fields)


def test_defaults_in_the_table_are_those_of_the_settings() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", DOCUMENT, re.MULTILINE)
    assert len(rows) >= 5
    for name, default in rows:
        assert Settings.model_fields[name].default == int(default), name


def test_every_metric_to_watch_is_one_that_is_told() -> None:
    told = {sample for family in OWN.collect() for sample in (family.name, f"{family.name}_total")}
    exposition = (ROOT / "coppice" / "jobs" / "exposition.py").read_text()
    named = set(re.findall(r"\bcoppice_[a-z_]+\b", DOCUMENT)) - {"coppice_"}
    assert len(named) >= 6
    for name in named:
        assert name in told or f'"{name}"' in exposition, name


def test_the_files_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:deploy|bench)/[^`<> ]*)`", DOCUMENT)

    assert len(named) >= 4
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_lifecycle_rule_is_json() -> None:
    (rule,) = blocks("json")
    assert yaml.safe_load(rule)["Rules"][0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 2


def test_a_receiver_that_follows_the_document_knows_our_webhooks_from_others() -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code, names)
    genuine = names["is_genuine"]
    assert callable(genuine)
    secret, body = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ=", b'{"status": 0}'
    message = signed("https://example.org", "end_1", body, secret, datetime.now(UTC))
    assert genuine(secret, message.headers, body)
    assert not genuine(secret, message.headers, b'{"status": -1}')
    assert not genuine("whsec_b3RoZXIgb3RoZXIgb3RoZXI=", message.headers, body)
    old = signed("https://example.org", "end_1", body, secret, datetime(2020, 1, 1, tzinfo=UTC))
    assert not genuine(secret, old.headers, body)


def test_a_backup_of_one_machine_brings_its_jobs_back(tmp_path: Path) -> None:
    if shutil.which("sqlite3") is None:
        missing("sqlite3")
    settings = Settings(data_dir=tmp_path / "data")
    stored = settings.data_dir / "store" / "kept"
    before = submitted(settings)
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(b"as it was")
    run(marked("sqlite"), tmp_path)
    after = submitted(settings)
    stored.write_bytes(b"spoilt")
    run(marked("sqlite-restore"), tmp_path)
    desk = Desk(settings)
    assert desk.job(before, "ann").state is JobState.QUEUED
    with open_database(settings).connect() as connection:
        kept = set(connection.scalars(sa.text("SELECT txid FROM jobs")))
    assert after not in kept
    assert stored.read_bytes() == b"as it was"


@pytest.mark.slow
def test_a_backup_of_a_fleet_brings_its_jobs_back(tmp_path: Path) -> None:
    if shutil.which("pg_dump") is None:
        missing("pg_dump")
    with postgres(tmp_path) as server:
        settings = Settings(data_dir=tmp_path / "data", database_url=server.url)
        migrate(settings)
        txid = submitted(settings)
        run(marked("postgresql"), tmp_path, {"COPPICE_DATABASE_URL": server.url})
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE another")
        other = settings.model_copy(update={"database_url": f"{server.url.rpartition('/')[0]}/another"})
        assert database_url(other).database == "another"
        run(marked("postgresql-restore"), tmp_path, {"COPPICE_DATABASE_URL": str(other.database_url)})
        assert Desk(other).job(txid, "ann").state is JobState.QUEUED


@pytest.mark.slow
def test_keda_s_queries_count_the_jobs_of_their_queue(tmp_path: Path) -> None:
    _, *scaled = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "keda.yaml").read_text())
    queries = {found["metadata"]["name"]: found["spec"]["triggers"][0]["metadata"]["query"] for found in scaled}
    with postgres(tmp_path) as server:
        settings = Settings(data_dir=tmp_path / "data", database_url=server.url)
        migrate(settings)
        for _ in range(3):
            submitted(settings)
        with psycopg.connect(server.url) as connection:
            counted = {name: connection.execute(query).fetchone() for name, query in queries.items()}
    assert counted == {"coppice-worker-cpu": (3,), "coppice-worker-gpu": (0,)}

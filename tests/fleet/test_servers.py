"""The servers that the tests of a fleet stand on: what they took is there after a kill, and strangers get nothing."""

from __future__ import annotations

from pathlib import Path

import obstore
import psycopg
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.fleet.postgres import postgres
from tests.fleet.s3 import BUCKET, Server, s3

pytestmark = pytest.mark.slow


def test_postgres_keeps_what_it_committed_through_a_kill(tmp_path: Path) -> None:
    with postgres(tmp_path) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace("coppice:", "coppice:x"))


def test_s3_keeps_what_it_took_through_a_kill_and_refuses_a_wrong_signature(tmp_path: Path) -> None:
    with s3(tmp_path) as server:
        secret = server.environment["AWS_SECRET_ACCESS_KEY"]
        obstore.put(_store(server, secret), "a/b", b"kept")
        server.kill()
        server.start()
        assert bytes(obstore.get(_store(server, secret), "a/b").bytes()) == b"kept"
        assert (server.objects / "a" / "b").read_bytes() == b"kept"
        with pytest.raises(BaseError):
            obstore.get(_store(server, "guessed"), "a/b")


def _store(server: Server, secret: str) -> S3Store:
    return S3Store(
        BUCKET,
        endpoint=server.endpoint,
        region=server.environment["AWS_REGION"],
        access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=secret,
        client_options={"allow_http": True},
    )

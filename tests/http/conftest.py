from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from coppice.jobs.desk import Desk
from coppice.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    # Made once and copied: the steps of two migrations reach the disk one by one.
    (data / "coppice.sqlite").write_bytes(_database())
    return Settings(data_dir=data, port=0)


@cache
def _database() -> bytes:
    """The file of a service that has no jobs yet."""
    with TemporaryDirectory() as folder:
        Desk(Settings(data_dir=Path(folder)))
        file = Path(folder) / "coppice.sqlite"
        connection = sqlite3.connect(file)
        # What the write-ahead log still holds goes into the one file.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return file.read_bytes()

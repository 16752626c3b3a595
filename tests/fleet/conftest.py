"""What holds of the queue holds on either database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice.jobs.database import database_url, migrate
from coppice.jobs.queue import migrate_queue
from coppice.settings import Settings
from tests.fleet.postgres import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings with an empty database."""
    local = Settings(data_dir=tmp_path / "data", jobs_per_client=100_000)
    if request.param == "sqlite":
        yield local
        return
    with postgres(tmp_path) as server:
        shared = local.model_copy(update={"database_url": server.url})
        migrate(shared)
        migrate_queue(database_url(shared))
        yield shared

"""The levels of isolation as services: run by root, by an ordinary user, and without namespaces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from coppice.settings import MIB, Settings
from tests.ordinary import ordinary_user
from tests.serving import Service, serving


@dataclass(frozen=True, kw_only=True)
class Level:
    """A way to run the service."""

    name: str
    isolation: str
    #: Whether an ordinary user runs it.
    ordinary: bool


LEVELS = (
    Level(name="A", isolation="bwrap", ordinary=False),
    Level(name="B", isolation="bwrap", ordinary=True),
    Level(name="C", isolation="landlock", ordinary=True),
)


@contextmanager
def at_level(level: Level, home: Path, environment: dict[str, str]) -> Iterator[Service]:
    """A service of that level with two workers, its data in `home`; skips where this machine can't have it."""
    if not level.ordinary and os.geteuid() != 0:
        pytest.skip("only root can give every job a user of its own")
    settings = Settings(
        data_dir=home / "data",
        port=0,
        workers=2,
        isolation=level.isolation,
        # Longer than all jobs of a level together: one of them has to outlive the others.
        job_seconds=400,
        job_cpu_seconds=30,
        job_memory_bytes=3072 * MIB,
        job_output_bytes=64 * MIB,
        job_processes=48,
    )
    before = ordinary_user(home) if level.ordinary else ()
    with serving(settings, before=before, environment=environment) as service:
        assert re.search(rf"isolation +{level.name} ", service.said), service.said
        yield service

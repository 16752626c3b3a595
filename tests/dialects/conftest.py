"""The frameworks as fixtures, and the files that they wrote, each built once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dialects.files import Dialect, Pruned, Saved, Zoo
from tests.dialects.frameworks import Framework


@pytest.fixture(scope="session")
def frameworks() -> Iterator[Callable[[str], Framework]]:
    """The framework of an environment; a missing environment skips at home and fails under CI=true."""
    started: dict[str, Framework] = {}

    def get(name: str) -> Framework:
        framework = started.setdefault(name, Framework(name))
        if not framework.ready:
            reason = f"the environment {name} is not set up: scripts/dialects {name}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return framework

    yield get
    for framework in started.values():
        framework.close()


@pytest.fixture(scope="session")
def zoo(frameworks: Callable[[str], Framework], tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Files written by real frameworks."""
    return Zoo(frameworks, tmp_path_factory.mktemp("zoo"))


@pytest.fixture
def saved(zoo: Zoo, dialect: Dialect, model: str) -> Saved:
    """The file of the test's own model in its own dialect."""
    return zoo.saved(dialect, model)


@pytest.fixture
def pruned(zoo: Zoo, saved: Saved) -> Pruned:
    """Its pruned copy, in the format that was sent."""
    made = zoo.pruned(saved)
    assert made.path.suffix == saved.path.suffix
    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where results go."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder

"""What the tests of the page share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from coppice.settings import Settings
from tests.browser.chromium import chromium
from tests.serving import Service, serving

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, of the version that the page's lock names."""
    if not AXE.exists():
        assert os.environ.get("CI") != "true", "axe-core is not installed: npm ci in web/"
        pytest.skip("axe-core is not installed: npm ci in web/")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real headless Chromium."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker, as `coppice serve` starts it."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("service") / "data", port=0, calls_per_minute=100_000)
    with serving(settings) as started:
        yield started

"""SavedModels that real TensorFlow wrote: `tests/dialects/make_fixtures.py` makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session", params=["tf23", "tf212"])
def archive(request: pytest.FixtureRequest) -> Path:
    """The zip of a small model, written by TensorFlow 2.3.4 or 2.12."""
    return FIXTURES / f"{request.param}.zip"

"""What people write in plain torch: the models of the engine's own tests."""

from __future__ import annotations

from collections.abc import Iterator

from bench.models.entry import Entry


def entries() -> Iterator[Entry]:
    """One entry for each user model of tests/engine."""
    from tests.engine.user_models import MODELS

    for name, model in MODELS.items():
        yield Entry(name=f"written/{name}", family="written by hand", build=model.build, inputs=model.inputs)

"""All entries, family by family."""

from __future__ import annotations

from collections.abc import Iterator

from bench.models import timm_models, transformers_models, users, vision
from bench.models.entry import Entry


def entries() -> Iterator[Entry]:
    """Every model of the zoo."""
    for source in (users, vision, timm_models, transformers_models):
        yield from source.entries()

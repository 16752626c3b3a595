"""All entries, source by source; a source is imported, with its framework, when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from bench.models.entry import Entry

#: First part of an entry's name -> the module that makes the entries.
SOURCES = {
    "written": "bench.models.users",
    "torchvision": "bench.models.vision",
    "timm": "bench.models.timm_models",
    "transformers": "bench.models.transformers_models",
}


def entries(source: str) -> Iterator[Entry]:
    """Every model of one source."""
    found: Iterator[Entry] = import_module(SOURCES[source]).entries()
    return found


def named(name: str) -> Entry:
    """One model by its full name; raises KeyError."""
    return {entry.name: entry for entry in entries(name.partition("/")[0])}[name]

"""How far a command is, on standard error: a bar in a terminal; in a log one line for each step, without colours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from coppice.client.bar import telling
from coppice.records.report import Progress, Tell


@contextmanager
def told() -> Iterator[Tell]:
    """Where progress is told for as long as the context lasts."""
    if Console(stderr=True).is_terminal:
        with telling(progress=True) as tell:
            yield tell
    else:
        yield _Lines().tell


class _Lines:
    """A line when a step begins: a log that is read later has no use for every percent."""

    def __init__(self) -> None:
        self._step = ""

    def tell(self, now: Progress) -> None:
        if now.step != self._step:
            self._step = now.step
            typer.echo(f"{now.step:<9} {now.detail}".rstrip(), err=True)

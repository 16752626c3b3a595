"""A progress bar where somebody can see one: in a terminal, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from coppice.records.report import Progress, Tell


@contextmanager
def telling(progress: Tell | bool) -> Iterator[Tell]:
    """Where progress is told, for as long as the context lasts: the function itself, a bar, or nowhere."""
    if not isinstance(progress, bool):
        yield progress
        return
    console = Console(stderr=True)
    shown = progress and (console.is_terminal or console.is_jupyter)
    columns = TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[detail]}"), TimeElapsedColumn()
    with ProgressBar(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("start", total=1.0, detail="")

        def show(now: Progress) -> None:
            bar.update(task, completed=now.fraction, description=escape(now.step), detail=escape(now.detail))

        yield show

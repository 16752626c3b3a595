"""`coppice work`: workers alone, for a service whose HTTP side runs elsewhere. Its flags are those of `serve`."""

from __future__ import annotations

import inspect

import typer

from coppice.cli import output
from coppice.cli.serve import parameters, read_settings


def work(**given: object) -> None:
    """Run workers of a fleet: they take jobs from its database and files from its storage, until told to stop."""
    with output.reported():
        settings = read_settings(**given)
        from coppice.jobs import supervisor  # as in `serve`

        raise typer.Exit(supervisor.work(settings))


work.__signature__ = inspect.Signature(parameters())  # type: ignore[attr-defined]  # a documented attribute of functions

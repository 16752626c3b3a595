"""`coppice migrate`: the tables of a fleet's database brought to this version. Run it before the processes start."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from coppice.cli import output
from coppice.cli.options import Json
from coppice.cli.serve import read_settings

DatabaseUrl = Annotated[
    str | None, typer.Option(help="postgresql://... of a fleet [COPPICE_DATABASE_URL]; unset: the data folder's file")
]


def migrate(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Bring the database's tables to this version of Coppice. Processes of the version before may go on meanwhile."""
    with output.reported(as_json=as_json):
        from coppice.jobs import database  # the server's packages are an extra

        version = database.migrate(read_settings(database_url=database_url))
        if as_json:
            output.print_json({"version": version})
            return
        Console().print(f"The database is at revision {version}.")

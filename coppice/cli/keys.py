"""`coppice keys create/list/revoke`: the API keys of one data folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coppice.cli import output
from coppice.cli.options import Json
from coppice.cli.serve import read_settings

if TYPE_CHECKING:
    from coppice.jobs.keys import Keys

keys = typer.Typer(help="Make, list and revoke the API keys of a service.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="data folder of the service [COPPICE_DATA_DIR]")]


def _keys(data: Path | None) -> Keys:
    # Imported here for the reason of `serve`: the server's packages are an extra.
    from coppice.jobs.keys import Keys

    return Keys(read_settings(data_dir=data))


@keys.command()
def create(name: str, data: Data = None, as_json: Json = False) -> None:
    """Make a key for the client NAME. Its secret is shown once and kept nowhere."""
    with output.reported(as_json=as_json):
        client_id, secret = _keys(data).create(name)
        if as_json:
            output.print_json({"client_id": client_id, "client_secret": secret})
            return
        console = Console(soft_wrap=True)
        console.print(f"X-IBM-Client-Id: {client_id}\nX-IBM-Client-Secret: {secret}", highlight=False)
        Console(stderr=True).print("The secret is not to be had again.", style="dim")


@keys.command(name="list")
def list_(data: Data = None, as_json: Json = False) -> None:
    """Show every key ever made, without its secret."""
    with output.reported(as_json=as_json):
        found = _keys(data).list()
        if as_json:
            output.print_json({"keys": [asdict(key) for key in found]})
            return
        table = Table("client id", "client", "created", "revoked")
        for key in found:
            revoked = f"{key.revoked:%Y-%m-%d %H:%M}" if key.revoked else ""
            table.add_row(key.client_id, escape(key.name), f"{key.created:%Y-%m-%d %H:%M}", revoked)
        Console().print(table)


@keys.command()
def revoke(client_id: str, data: Data = None, as_json: Json = False) -> None:
    """Take a key out of force, at once. What it sent stays."""
    with output.reported(as_json=as_json):
        _keys(data).revoke(client_id)
        if as_json:
            output.print_json({"revoked": client_id})

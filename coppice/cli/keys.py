"""`coppice keys`: the API keys of one service, in its data folder or on its PostgreSQL."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coppice.cli import output
from coppice.cli.durations import duration
from coppice.cli.examples import Commands, epilog
from coppice.cli.options import Json
from coppice.cli.serve import read_settings

if TYPE_CHECKING:
    from coppice.jobs.keys import Keys

keys = typer.Typer(
    help="Make, rotate, list and revoke the API keys of a service.",
    no_args_is_help=True,
    cls=Commands,
    epilog=epilog("keys"),
)

Data = Annotated[Path | None, typer.Option(help="data folder of the service [COPPICE_DATA_DIR]")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="postgresql://... of a fleet [COPPICE_DATABASE_URL, which no other user of the machine can read]"
    ),
]
Expires = Annotated[str | None, typer.Option(help="how long the key is in force: 90d, 12h; not given: until revoked")]


def _keys(data: Path | None, database_url: str | None) -> Keys:
    # Imported here for the reason of `serve`: the server's packages are an extra.
    from coppice.jobs.keys import Keys

    return Keys(read_settings(data_dir=data, database_url=database_url))


@keys.command(epilog=epilog("keys create"))
def create(
    name: str, expires: Expires = None, data: Data = None, database_url: DatabaseUrl = None, as_json: Json = False
) -> None:
    """Make a key for the client NAME. Its secret is shown once and kept nowhere."""
    with output.reported(as_json=as_json):
        lifetime = None if expires is None else duration(expires, "--expires")
        _show(_keys(data, database_url).create(name, lifetime=lifetime), as_json=as_json)


@keys.command(epilog=epilog("keys rotate"))
def rotate(
    client_id: str,
    grace: Annotated[str, typer.Option(help="how long the old key goes on working: 1d, 0s")] = "1d",
    expires: Annotated[
        str | None, typer.Option(help="how long the new key is in force; not given: as long as the old one was")
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make another key for the client of this one, which expires after the grace."""
    with output.reported(as_json=as_json):
        lifetime = None if expires is None else duration(expires, "--expires")
        made = _keys(data, database_url).rotate(client_id, grace=duration(grace, "--grace"), lifetime=lifetime)
        _show(made, as_json=as_json)


@keys.command(name="list", epilog=epilog("keys list"))
def list_(data: Data = None, database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show every key ever made, without its secret."""
    with output.reported(as_json=as_json):
        found = _keys(data, database_url).list()
        if as_json:
            output.print_json({"keys": [{**asdict(key), "state": key.state} for key in found]})
            return
        table = Table("client", "created", "state", "until")
        table.add_column("client id", no_wrap=True)
        for key in found:
            until = _minute(key.revoked or key.expires)
            table.add_row(escape(key.name), _minute(key.created), key.state, until, key.client_id)
        Console().print(table)


@keys.command(epilog=epilog("keys revoke"))
def revoke(client_id: str, data: Data = None, database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Take a key out of force, at once. What it sent stays."""
    with output.reported(as_json=as_json):
        _keys(data, database_url).revoke(client_id)
        if as_json:
            output.print_json({"revoked": client_id})


@keys.command(name="webhook-secret", epilog=epilog("keys webhook-secret"))
def webhook_secret(name: str, data: Data = None, database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Show what the webhooks of the client NAME are signed with; without API keys the client is `anonymous`."""
    with output.reported(as_json=as_json):
        secret = _keys(data, database_url).webhook_secret(name)
        if as_json:
            output.print_json({"client": name, "webhook_secret": secret})
            return
        typer.echo(secret)


def _show(made: tuple[str, str], *, as_json: bool) -> None:
    client_id, secret = made
    if as_json:
        output.print_json({"client_id": client_id, "client_secret": secret})
        return
    console = Console(soft_wrap=True)
    console.print(f"X-IBM-Client-Id: {client_id}\nX-IBM-Client-Secret: {secret}", highlight=False)
    Console(stderr=True).print("The secret is not to be had again.", style="dim")


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""

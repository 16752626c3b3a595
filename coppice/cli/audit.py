"""`coppice audit`: who did what with a service, when, from where, and how it ended."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from coppice.cli import output
from coppice.cli.durations import duration
from coppice.cli.keys import Data, DatabaseUrl
from coppice.cli.options import Json
from coppice.cli.serve import read_settings

_SHOWN = 1000


def audit(
    client: Annotated[str | None, typer.Option(help="of this client only")] = None,
    since: Annotated[str | None, typer.Option(help="from then on: 2026-11-22, 2026-11-22T10:00, or 2d for ago")] = None,
    last: Annotated[int, typer.Option(min=1, help="how many entries, counted from the end")] = _SHOWN,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Show the audit log, oldest first."""
    with output.reported(as_json=as_json):
        # Imported here for the reason of `serve`: the server's packages are an extra.
        from sqlalchemy.orm import Session

        from coppice.jobs.audit import entries
        from coppice.jobs.database import open_database

        start = None if since is None else _moment(since)
        engine = open_database(read_settings(data_dir=data, database_url=database_url))
        with Session(engine) as session:
            found = entries(session, client=client, since=start, last=last)
        engine.dispose()
        if as_json:
            output.print_json({"entries": [asdict(entry) for entry in found]})
            return
        for entry in found:
            # A line each, for `grep`. What a caller sent may hold anything; on a terminal it is shown as text.
            told = (entry.client, entry.client_id, entry.address, entry.action, entry.txid, entry.outcome)
            words = "  ".join(ascii(text)[1:-1] if text else "-" for text in told)
            typer.echo(f"{entry.at:%Y-%m-%d %H:%M:%S}  {words}")


def _moment(given: str) -> datetime:
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        return datetime.now(UTC) - duration(given, "--since")
    return found if found.tzinfo else found.replace(tzinfo=UTC)

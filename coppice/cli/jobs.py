"""`coppice jobs list/cancel/delete`: one's own jobs at a service."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from coppice.cli import options, output, running
from coppice.records.job import JobState

jobs = typer.Typer(help="Look after your own jobs at a service.", no_args_is_help=True)

State = Annotated[str | None, typer.Option(help=f"only jobs in this state: {', '.join(JobState)}")]
Since = Annotated[str | None, typer.Option(help="only jobs sent since then: 2026-11-22, 2026-11-22T03:04:05Z")]
Limit = Annotated[int, typer.Option(min=1, help="list so many at most")]
Txid = Annotated[str, typer.Argument(help="transaction id of the job")]


@jobs.command("list")
@options.flags
def list_jobs(
    server: running.Server, state: State = None, since: Since = None, limit: Limit = 50, as_json: options.Json = False
) -> None:
    """List jobs, newest first."""
    with output.reported(as_json=as_json), server.client() as client:
        filters = {"state": state, "since": since, "limit": str(min(limit, 200))}
        given = {name: text for name, text in filters.items() if text is not None}
        found = list(islice(client.jobs(**given), limit))
        if as_json:
            output.print_json({"jobs": found})
        else:
            output.print_jobs(found)


@jobs.command("cancel")
@options.flags
def cancel(txid: Txid, server: running.Server) -> None:
    """Stop a job that has not ended."""
    with output.reported(), server.client() as client:
        client.cancel(txid)
        typer.echo(f"cancelled {txid}")


@jobs.command("delete")
@options.flags
def delete(txid: Txid, server: running.Server) -> None:
    """Forget a job, whatever its state, with all its files."""
    with output.reported(), server.client() as client:
        client.delete(txid)
        typer.echo(f"deleted {txid}")

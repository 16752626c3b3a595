"""`coppice jobs`: one's own jobs at a service: listed, looked at, awaited, taken home, cancelled, deleted."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import options, output, progress, running
from coppice.cli.completion import one_of
from coppice.cli.examples import Commands, epilog
from coppice.cli.stopping import stoppable
from coppice.records.job import JobState

jobs = typer.Typer(
    help="Look after your own jobs at a service.", no_args_is_help=True, cls=Commands, epilog=epilog("jobs")
)

State = Annotated[
    str | None,
    typer.Option(help=f"only jobs in this state: {', '.join(JobState)}", autocompletion=one_of(JobState)),
]
Since = Annotated[str | None, typer.Option(help="only jobs sent since then: 2026-11-22, 2026-11-22T03:04:05Z")]
Limit = Annotated[int, typer.Option(min=1, help="list so many at most")]
Txid = Annotated[str, typer.Argument(help="transaction id of the job")]
To = Annotated[Path, typer.Option("--out", "-o", help="folder for every artifact, or file for the result")]
Artifact = Annotated[str | None, typer.Option(help="this artifact alone, e.g. onnx")]


@jobs.command("list", epilog=epilog("jobs list"))
@options.flags
def list_jobs(
    server: running.Server, state: State = None, since: Since = None, limit: Limit = 50, as_json: options.Json = False
) -> None:
    """List jobs, newest first."""
    with output.reported(as_json=as_json), server.client() as client:
        filters = {"state": state, "since": since, "limit": str(min(limit, 200))}
        given = {name: text for name, text in filters.items() if text is not None}
        found = [job.model_dump(mode="json", exclude_none=True) for job in islice(client.jobs(**given), limit)]
        if as_json:
            output.print_json({"jobs": found})
        else:
            output.print_jobs(found)


@jobs.command("show", epilog=epilog("jobs show"))
@options.flags
def show(txid: Txid, server: running.Server, as_json: options.Json = False) -> None:
    """Say where a job stands; ends as the job did where it has failed."""
    with output.reported(as_json=as_json), server.client() as client:
        status = client.status(txid)
        now = status.now
        if as_json:
            told = {"txid": txid, "status": status.number, "message": status.message}
            output.print_json(told if status.done else {**told, "progress": now.model_dump()})
        elif status.done:
            typer.echo(f"done: {status.message}")
        else:
            typer.echo(f"{now.step}, {now.fraction:.0%} {now.detail}".rstrip())


@jobs.command("wait", epilog=epilog("jobs wait"))
@options.flags
def wait(txid: Txid, server: running.Server, as_json: options.Json = False) -> None:
    """Wait until a job has ended; Ctrl-C ends the waiting, not the job."""
    with output.reported(as_json=as_json), server.client() as client:
        try:
            with stoppable(), progress.told() as tell:
                client.wait(txid, tell)
        except KeyboardInterrupt as stopped:
            raise KeyboardInterrupt(f"Stopped waiting. Job {txid} goes on.") from stopped
        _say({"done": txid}, as_json=as_json)


@jobs.command("download", epilog=epilog("jobs download"))
@options.flags
def download(
    txid: Txid, out: To, server: running.Server, artifact: Artifact = None, as_json: options.Json = False
) -> None:
    """Take home the files of a job that is done; what broke off before goes on where it was."""
    with output.reported(as_json=as_json), server.client() as client:
        with stoppable(), progress.told() as tell:
            written = client.job(txid).download(out, artifact, progress=tell)
        if as_json:
            output.print_json({"txid": txid, "written": [str(path) for path in written]})
            return
        for path in written:
            typer.echo(f"{path} ({path.stat().st_size:,} bytes)")


@jobs.command("cancel", epilog=epilog("jobs cancel"))
@options.flags
def cancel(txid: Txid, server: running.Server, as_json: options.Json = False) -> None:
    """Stop a job that has not ended."""
    with output.reported(as_json=as_json), server.client() as client:
        client.cancel(txid)
        _say({"cancelled": txid}, as_json=as_json)


@jobs.command("delete", epilog=epilog("jobs delete"))
@options.flags
def delete(txid: Txid, server: running.Server, as_json: options.Json = False) -> None:
    """Forget a job, whatever its state, with all its files."""
    with output.reported(as_json=as_json), server.client() as client:
        client.delete(txid)
        _say({"deleted": txid}, as_json=as_json)


def _say(done: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        output.print_json(done)
        return
    for what, txid in done.items():
        typer.echo(f"{what} {txid}")

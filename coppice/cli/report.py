"""`coppice report`: the stored account of a job, shown as its command showed it, or as its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError

from coppice.cli import options, output, running
from coppice.errors import ParameterMissing, UnknownFormat
from coppice.records.accounts import ACCOUNTS
from coppice.records.report import Account
from coppice.records.request import Task

#: What a folder of results may hold; a sweep's folder has reports of its points beside its curve, so that comes first.
_FILES = ("curve.json", "report.json", "inspection.json")

Stored = Annotated[str, typer.Argument(help="report.json, inspection.json, curve.json, their folder, or a job's txid")]
Html = Annotated[Path | None, typer.Option(help="write the page of it to this file")]


@options.flags
def report(stored: Stored, server: running.Server, html: Html = None, as_json: options.Json = False) -> None:
    """Show the report of an earlier job: from its file, or with --server from a service."""
    with output.reported(as_json=as_json):
        account = _of_service(stored, server) if server.server else _of_file(Path(stored))
        if html is not None:
            # Imported here: the templates take time that no other command has to give.
            from coppice.pages import render

            with running.writing(html, "html"):
                html.write_text(render(account), encoding="utf-8")
        if as_json:
            output.print_json(account)
        elif html is not None:
            typer.echo(f"{html} ({html.stat().st_size:,} bytes)")
        else:
            output.print_account(account)


def _of_service(txid: str, server: running.Server) -> Account:
    with server.client() as client:
        return client.account(txid)


class _Asked(BaseModel):
    task: Task


class _Head(BaseModel):
    """As much of an account as tells its kind."""

    request: _Asked


def _of_file(path: Path) -> Account:
    if path.is_dir():
        path = next((path / name for name in _FILES if (path / name).is_file()), path / _FILES[1])
    if not path.is_file():
        raise ParameterMissing(f"{path}: no such file. For a job of a service add --server.", field="stored")
    try:
        text = path.read_bytes()
        return ACCOUNTS[_Head.model_validate_json(text).request.task].model_validate_json(text)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UnknownFormat(
            f"{path} is no report of this version of Coppice: {where}: {first['msg']}.", field="stored"
        ) from e

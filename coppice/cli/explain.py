"""`coppice explain`: how a user comes to an error, and what he can do, without a service or a network."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coppice.cli import options, output
from coppice.cli.completion import one_of
from coppice.errors import BY_CODE, CoppiceError, ParameterInvalid

Code = Annotated[
    str | None,
    typer.Argument(
        help="code of the error, as its last line names it; all of them without", autocompletion=one_of(BY_CODE)
    ),
]


def explain(code: Code = None, as_json: options.Json = False) -> None:
    """Say of an error how one comes to it and what can be done, or list them all."""
    with output.reported(as_json=as_json):
        if code is None:
            _list(as_json=as_json)
            return
        kind = _named(code)
        if as_json:
            output.print_json(_as_dict(kind))
        else:
            _print(kind)


def _named(code: str) -> type[CoppiceError]:
    known = code.strip().lower().replace("-", "_")
    if known in BY_CODE:
        return BY_CODE[known]
    near = difflib.get_close_matches(known, BY_CODE, n=1)
    hint = f"did you mean {near[0]}?" if near else "`coppice explain` lists them all."
    raise ParameterInvalid(f"{code}: no error has that code; {hint}", field="code")


def _as_dict(kind: type[CoppiceError]) -> dict[str, object]:
    return {
        "code": kind.code,
        "meaning": _meaning(kind),
        "cause": kind.cause,
        "remedy": kind.remedy,
        "http_status": kind.http_status,
        "exit_code": kind.exit_code,
        "link": kind.link(),
    }


def _meaning(kind: type[CoppiceError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _print(kind: type[CoppiceError]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{kind.code}[/]  {escape(_meaning(kind))}\n")
    for label, told in (
        ("why", kind.cause),
        ("what to do", kind.remedy),
        ("ends with", f"exit code {kind.exit_code} of a command, HTTP status {kind.http_status} of a service"),
    ):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(min_width=len("what to do"), style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(label, escape(told))
        console.print(grid)


def _list(*, as_json: bool) -> None:
    if as_json:
        output.print_json({"errors": [_as_dict(kind) for kind in BY_CODE.values()]})
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("code", no_wrap=True)
    table.add_column("HTTP", justify="right")
    table.add_column("exit", justify="right")
    table.add_column("meaning", overflow="fold")
    for kind in BY_CODE.values():
        table.add_row(kind.code, str(kind.http_status), str(kind.exit_code), escape(_meaning(kind)))
    Console(highlight=False).print(table)

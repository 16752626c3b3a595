"""What the commands print: tables for people, JSON for programs, failures for both.

Results go to standard output, everything else to standard error, so that `--json` can be piped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coppice import extras
from coppice.cli import stopping
from coppice.errors import CoppiceError
from coppice.records.call import PARAMETERS
from coppice.records.figures import significant
from coppice.records.quantized_words import lines
from coppice.records.report import Account, Cost, FrozenReport, GroupReport, Inspection, Quality, Quantized, Report
from coppice.records.request import Task
from coppice.records.sweep import Sweep

_FLAGS = {parameter: flag for flag, parameter in PARAMETERS.items()}

#: Columns that only an inspection has: what the group holds of the whole model.
_SHARES = ("of parameters", "of MACs")

#: Figures of a fidelity, and how they are read.
_FIGURES: Mapping[str, Callable[[float], str]] = {
    "accuracy": "{:.1%}".format,
    "agreement": "{:.1%}".format,
    "error": significant,
    "distance": significant,
}


@contextmanager
def reported(*, as_json: bool = False) -> Iterator[None]:
    """Turn a CoppiceError, or Ctrl-C, into its message, on standard error or as JSON, and its exit code."""
    try:
        with extras.explained():
            yield
    except CoppiceError as error:
        if as_json:
            print_json(error.as_dict())
        else:
            # The calls' own name of a parameter is not always that of the flag.
            field = f" ({_FLAGS.get(error.field, error.field)})" if error.field else ""
            message = (
                f"[bold red]error:[/] {escape(error.message)}\n[bold]what to do:[/] {escape(error.remedy)}\n"
                f"[dim]{error.code}{escape(field)}; more: coppice explain {error.code}[/]"
            )
            Console(stderr=True).print(message, soft_wrap=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as stopped:
        told = str(stopped) or "Stopped. Nothing was written."
        if as_json:
            print_json({"code": "interrupted", "message": told})
        else:
            Console(stderr=True).print(escape(told), soft_wrap=True, highlight=False)
        raise typer.Exit(stopping.EXIT_CODE) from stopped


def print_json(value: BaseModel | dict[str, object]) -> None:
    """One JSON document on standard output."""
    typer.echo(
        value.model_dump_json(indent=2) if isinstance(value, BaseModel) else json.dumps(value, indent=2, default=str)
    )


def print_account(account: Account) -> None:
    """What a job left behind, as its command shows it."""
    if isinstance(account, Inspection):
        print_inspection(account)
    elif isinstance(account, Sweep):
        print_sweep(account)
    elif isinstance(account, Report) and account.request.task is Task.QUANTIZE:
        print_quantized(account)
    elif isinstance(account, Report):
        print_report(account)


def print_report(report: Report, written: str | None = None) -> None:
    """What was cut, what was not and why, and what it won."""
    console = Console()
    console.print(_groups(report.groups, "pruned", "removed"))
    _print_frozen(console, report.frozen)
    console.print(_costs(report.before, report.after))
    if report.quality is not None:
        console.print(_quality(report.quality, report.criterion))
    if report.quantized is not None:
        _print_lines(console, report.quantized)
    _print_warnings(console, report.warnings)
    _print_notes(console, (*report.notes, *report.verification.notes))
    console.print(f"check    {_verdict(report)}", soft_wrap=True)
    _print_written(console, written)


def print_quantized(report: Report, written: str | None = None) -> None:
    """What a model became that was quantized as it is."""
    console = Console()
    if report.quantized is not None:
        console.print(_layers(report.quantized))
        _print_lines(console, report.quantized)
    _print_warnings(console, report.warnings)
    _print_notes(console, report.notes)
    _print_written(console, written)


def print_inspection(inspection: Inspection) -> None:
    """What could be cut, and what can't and why."""
    console = Console()
    console.print(_groups(inspection.groups, "can be pruned", "would go"))
    if not any(group.removed for group in inspection.groups):
        told = "no channel of this model would go: the reasons stand above and below"
        console.print(f"[yellow]nothing to prune[/]  {told}", soft_wrap=True)
    _print_frozen(console, inspection.frozen)
    _print_notes(console, inspection.notes)


def print_sweep(swept: Sweep, written: str | None = None) -> None:
    """The curve: a row for each ratio."""
    console = Console(soft_wrap=True)
    console.print(escape(swept.summary), highlight=False)
    if swept.merit is not None:
        told = "* no other point is as good and as cheap in every cost, and better or cheaper in one"
        console.print(f"{told}; {swept.merit} is of {swept.held_out} samples that nothing was fitted to", style="dim")
    _print_notes(console, swept.notes)
    _print_written(console, written)


def print_jobs(jobs: Sequence[Mapping[str, Any]]) -> None:
    """A row for each job of a service."""
    table = _table("", "txid", "state", "call", "sent", "bytes", "result", numbers=("bytes",))
    table.columns[0].min_width = 36  # it is for copying: never cut
    for column in table.columns:
        column.overflow = "fold"
    for job in jobs:
        told = str(job.get("filename") or job.get("code") or "")
        sent = str(job["submitted"])[:19].replace("T", " ")
        table.add_row(*map(escape, (job["txid"], job["state"], job["call"], sent, f"{job['stored_bytes']:,}", told)))
    Console(soft_wrap=True).print(table)


def _table(title: str, *columns: str, numbers: Collection[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table


def _groups(groups: tuple[GroupReport, ...], title: str, removed: str) -> Table:
    numbers = ("channels", removed, *(_SHARES if any(group.parameters is not None for group in groups) else ()))
    table = _table(title, "group", "layers", *numbers, "why not more", numbers=numbers)
    for group in groups:
        shares = [f"{share:.1%}" for share in (group.parameters, group.macs) if share is not None]
        counts = (str(group.channels), str(group.removed), *shares)
        table.add_row(escape(group.name), escape(", ".join(group.layers)), *counts, escape(group.reason or ""))
    return table


def _print_frozen(console: Console, frozen: tuple[FrozenReport, ...]) -> None:
    if not frozen:
        return
    table = _table("stays whole", "layers", "channels", "reason", numbers=("channels",))
    for entry in frozen:
        table.add_row(escape(", ".join(entry.layers)), str(entry.channels), escape(entry.reason))
    console.print(table)


def _costs(before: Cost, after: Cost) -> Table:
    table = _table("cost", "", "before", "after", "kept", numbers=("before", "after", "kept"))
    for label, old, new in (
        ("parameters", before.parameters, after.parameters),
        ("bytes", before.bytes, after.bytes),
        ("multiply-accumulates", before.macs, after.macs),
        ("bytes of activations, at most", before.activation_bytes, after.activation_bytes),
        ("bytes of the file", before.file_bytes, after.file_bytes),
    ):
        if old is not None and new is not None:
            table.add_row(label, f"{old:,}", f"{new:,}", f"{new / old:.1%}" if old else "")
    if before.latency_ms and after.latency_ms:
        old_ms, new_ms = before.latency_ms, after.latency_ms
        table.add_row("latency of one sample, ms", f"{old_ms:.2f}", f"{new_ms:.2f}", f"{new_ms / old_ms:.1%}")
    return table


def _layers(found: Quantized) -> Table:
    table = _table("quantized", "layer", "parameters", "precision", "why not as asked", numbers=("parameters",))
    for layer in found.layers:
        counts = (f"{layer.parameters:,}", str(layer.precision))
        table.add_row(escape(layer.name), *counts, escape(layer.reason or found.floating.get(layer.name, "")))
    return table


def _quality(quality: Quality, criterion: str) -> Table:
    given = [(name, tell) for name, tell in _FIGURES.items() if getattr(quality.before, name) is not None]
    names = [name for name, _ in given]
    title = f"quality on {quality.held_out} samples that nothing was fitted to, channels chosen by {criterion}"
    table = _table(title, "", *names, numbers=names)
    for label, fidelity in (("original", quality.before), ("cut", quality.cut), ("given back", quality.restored)):
        values = (getattr(fidelity, name) for name, _ in given)
        table.add_row(
            label,
            *("no number" if value is None else tell(value) for value, (_, tell) in zip(values, given, strict=True)),
        )
    return table


def _print_lines(console: Console, found: Quantized) -> None:
    for line in lines(found):
        console.print(escape(line), soft_wrap=True, highlight=False)


def _print_warnings(console: Console, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        console.print(f"[yellow]warning[/]  {escape(warning)}", soft_wrap=True)


def _print_notes(console: Console, notes: tuple[str, ...]) -> None:
    for note in notes:
        console.print(f"note     {escape(note)}", soft_wrap=True)


def _print_written(console: Console, written: str | None) -> None:
    if written is not None:
        console.print(f"written  {escape(written)}", soft_wrap=True)


def _verdict(report: Report) -> str:
    found = report.verification
    if found.max_relative_difference is None:
        return f"{found.check}"
    return (
        f"{found.check}: pruned against masked original, {found.dtype}, "
        f"largest relative difference {found.max_relative_difference:.1e}"
    )

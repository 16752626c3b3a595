"""`coppice sweep`: one file in, a pruned model for each ratio out, and the curve that compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import options, output, running
from coppice.errors import ParameterInvalid
from coppice.records.request import MAX_POINTS, Task
from coppice.records.sweep import Sweep

Percents = Annotated[
    str, typer.Option(help=f"fractions to remove, separated by commas, 1 to {MAX_POINTS}, e.g. 0.2,0.4,0.6,0.8")
]
Folder = Annotated[Path, typer.Option("--out", "-o", help="folder for the curve, the models and their reports")]


@options.flags
def sweep(
    model: options.Model,
    percents: Percents,
    out: Folder,
    cut: options.Cut,
    service: running.Service,
    as_json: options.Json = False,
) -> None:
    """Prune one model by several ratios and compare: quality against parameters, operations, bytes and latency."""
    with (
        output.reported(as_json=as_json),
        options.request_of(model, Task.SWEEP, cut, percents=percents) as (request, files),
    ):
        if out.is_file():
            raise ParameterInvalid(f"--out {out}: a sweep has many files. Name a folder.", field="out")
        with running.done(Sweep, request, files, service) as (swept, scratch):
            written = running.moved(swept, scratch, out)
        if as_json:
            output.print_json(swept)
        else:
            output.print_sweep(swept, written)

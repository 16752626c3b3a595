"""`coppice prune`: one file in, the pruned model out, on this machine or through a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import options, output, running
from coppice.cli.completion import one_of
from coppice.cli.results import Out, check_suffix, deliver
from coppice.records.quantization import Precision
from coppice.records.report import Report
from coppice.records.request import Task

MaxDrop = Annotated[
    str | None,
    typer.Option(
        help="largest loss of accuracy (of agreement with the original, where samples have no labels) to accept, e.g. "
        "0.01: look for the smallest model within it; --percent is then the most to remove"
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        "--precision",
        help=f"quantize what is left, as `coppice quantize` does: {', '.join(Precision)}",
        autocompletion=one_of(Precision),
    ),
]
Plan = Annotated[
    Path | None,
    typer.Option(
        help="what to remove, in place of --percent: the plan.json of an earlier result, as it is or edited, for "
        "another model of the same architecture"
    ),
]


@options.flags
def prune(
    model: options.Model,
    out: Out,
    cut: options.Cut,
    numbers: options.Numbers,
    service: running.Service,
    percent: options.Percent = None,
    max_drop: MaxDrop = None,
    plan: Plan = None,
    precision: Quantize = None,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Remove a share of the channels of every group of layers; write a smaller model of the same kind."""
    with (
        output.reported(as_json=as_json),
        options.request_of(
            *(model, Task.PRUNE, cut, numbers),
            percent=percent,
            max_drop=max_drop,
            plan=plan,
            precision=precision,
            weights=weights,
        ) as (request, files),
    ):
        check_suffix(request, files, out)
        with running.done(Report, request, files, service) as (report, scratch):
            written = deliver(report, scratch, out)
        if as_json:
            output.print_json(report)
        else:
            output.print_report(report, written)

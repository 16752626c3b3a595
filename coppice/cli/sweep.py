"""`coppice sweep`: one file in, a model for each ratio and precision out, and the curve that compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import options, output, running
from coppice.cli.completion import some_of
from coppice.errors import ParameterInvalid
from coppice.records.quantization import Precision
from coppice.records.request import MAX_POINTS, Task
from coppice.records.sweep import Sweep

Percents = Annotated[
    str | None,
    typer.Option(
        help=f"fractions to remove, separated by commas, 1 to {MAX_POINTS}, e.g. 0.2,0.4,0.6,0.8; with --precisions "
        "they may be left out, and 0 is the model as it is"
    ),
]
Precisions = Annotated[
    str | None,
    typer.Option(
        help="precisions of each, separated by commas, e.g. float32,int8,int4; float32 is what is not quantized",
        autocompletion=some_of(Precision),
    ),
]
Folder = Annotated[Path, typer.Option("--out", "-o", help="folder for the curve, the models and their reports")]


@options.flags
def sweep(
    model: options.Model,
    out: Folder,
    cut: options.Cut,
    numbers: options.Numbers,
    service: running.Service,
    percents: Percents = None,
    precisions: Precisions = None,
    as_json: options.Json = False,
) -> None:
    """Cut one model by several ratios, in several precisions, and compare quality against size, operations and time."""
    with (
        output.reported(as_json=as_json),
        options.request_of(model, Task.SWEEP, cut, numbers, percents=percents, precisions=precisions) as (
            request,
            files,
        ),
    ):
        if out.is_file():
            raise ParameterInvalid(f"--out {out}: a sweep has many files. Name a folder.", field="out")
        with running.done(Sweep, request, files, service) as (swept, scratch):
            written = running.moved(swept, scratch, out)
        if as_json:
            output.print_json(swept)
        else:
            output.print_sweep(swept, written)

"""`coppice quantize`: one file in, the same model in fewer bits out, on this machine or through a service."""

from __future__ import annotations

from typing import Annotated

import typer

from coppice.cli import options, output, running
from coppice.cli.completion import one_of
from coppice.cli.results import Out, check_suffix, deliver
from coppice.records.quantization import Precision
from coppice.records.report import Report
from coppice.records.request import Task

Asked = Annotated[
    str | None,
    typer.Option(
        help=f"of the weights, and of biases and activations what goes with it: {', '.join(Precision)}; int8 needs "
        "--dataset",
        autocompletion=one_of(Precision),
    ),
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        help="largest loss of accuracy (of agreement with the original, where samples have no labels) to accept, e.g. "
        "0.01: layers are raised to more bits one by one until it is kept"
    ),
]


@options.flags
def quantize(
    model: options.Model,
    out: Out,
    numbers: options.Numbers,
    service: running.Service,
    precision: Asked = None,
    weights: options.Weights = None,
    max_drop: MaxDrop = None,
    seed: options.Seed = "0",
    as_json: options.Json = False,
) -> None:
    """Keep a model's numbers in fewer bits, and write a file that its runtime has opened and run; nothing is cut."""
    with (
        output.reported(as_json=as_json),
        options.request_of(
            *(model, Task.QUANTIZE, numbers), precision=precision, weights=weights, max_drop=max_drop, seed=seed
        ) as (request, files),
    ):
        check_suffix(request, files, out)
        with running.done(Report, request, files, service) as (report, scratch):
            written = deliver(report, scratch, out)
        if as_json:
            output.print_json(report)
        else:
            output.print_quantized(report, written)

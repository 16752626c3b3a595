"""`coppice inspect`: what could be pruned and what can't, with reasons, without pruning."""

from __future__ import annotations

from coppice.cli import options, output, running
from coppice.records.report import Inspection
from coppice.records.request import SHOWN, Task


@options.flags
def inspect(
    model: options.Model,
    shape: options.Shape,
    percent: options.Percent = str(SHOWN),
    as_json: options.Json = False,
) -> None:
    """List the groups of channels that could be pruned and those that can't, with reasons; prunes nothing."""
    with (
        output.reported(as_json=as_json),
        options.request_of(model, Task.INSPECT, shape, percent=percent) as (request, files),
        running.done(Inspection, request, files, running.Service()) as (inspection, _),
    ):
        if as_json:
            output.print_json(inspection)
        else:
            output.print_inspection(inspection)

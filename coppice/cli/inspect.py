"""`coppice inspect`: what could be pruned and what can't, with reasons, without pruning."""

from __future__ import annotations

from coppice.cli import local, options, output


def inspect(
    file: options.File,
    percent: options.Percent = "0.5",
    omit: options.Omit = "",
    heads: options.Heads = "width",
    class_def: options.ClassDef = None,
    model_name: options.ModelName = None,
    model_args: options.ModelArgs = None,
    input_size: options.InputSize = None,
    dataset: options.Dataset = None,
    as_json: options.Json = False,
) -> None:
    """List the groups of channels that could be pruned and those that can't, with reasons; prunes nothing."""
    arguments = options.Arguments(
        file=file,
        percent=percent,
        omit=omit,
        criterion="l1",
        seed=0,
        heads=heads,
        class_def=class_def,
        model_name=model_name,
        model_args=model_args,
        input_size=input_size,
        dataset=dataset,
    )
    with output.reported(as_json=as_json), options.request_of(arguments) as (request, files):
        with output.progress_bar() as progress:
            inspection = local.inspect(request, files, progress)
        if as_json:
            output.print_json(inspection)
        else:
            output.print_inspection(inspection)

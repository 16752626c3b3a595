"""`coppice prune`: one file in, the pruned model out, on this machine or through a service."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import options, output, running
from coppice.errors import ParameterInvalid
from coppice.records.frameworks import Framework
from coppice.records.report import Report
from coppice.records.request import Part, Request, Task

#: Suffixes that an output file may have, by what goes in; torch users write both.
RESULT_SUFFIXES = {Framework.PYTORCH: frozenset({".pt", ".pth"}), Framework.ONNX: frozenset({".onnx"})}

Out = Annotated[
    Path, typer.Option("--out", "-o", help="file for the pruned model, or a folder (no suffix) for every artifact")
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        help="largest loss of accuracy (of agreement with the original, where samples have no labels) to accept, e.g. "
        "0.01: look for the smallest model within it; --percent is then the most to remove"
    ),
]


@options.flags
def prune(
    model: options.Model,
    out: Out,
    cut: options.Cut,
    service: running.Service,
    percent: options.Percent = None,
    max_drop: MaxDrop = None,
    as_json: options.Json = False,
) -> None:
    """Remove a share of the channels of every group of layers; write a smaller model of the same kind."""
    with (
        output.reported(as_json=as_json),
        options.request_of(model, Task.PRUNE, cut, percent=percent, max_drop=max_drop) as (request, files),
    ):
        _check_suffix(request, files, out)
        with running.done(Report, request, files, service) as (report, scratch):
            written = _deliver(report, scratch, out)
        if as_json:
            output.print_json(report)
        else:
            output.print_report(report, written)


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def _check_suffix(request: Request, files: Mapping[Part, Path], out: Path) -> None:
    """Refuse a file name that would lie about its content before any work is done."""
    if _is_folder(out):
        return
    model = files.get(Part.MODEL)
    allowed = RESULT_SUFFIXES.get(request.framework) or {model.suffix.lower() if model else ""}
    if out.suffix.lower() not in allowed:
        kinds = " or ".join(sorted(allowed))
        raise ParameterInvalid(f"--out {out}: the result is of the kind that was given: {kinds}.", field="out")


def _deliver(report: Report, scratch: Path, out: Path) -> str:
    """Move what was asked for to where it was asked for; says what was written."""
    if _is_folder(out):
        return running.moved(report, scratch, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    model = next(artifact for artifact in report.artifacts if artifact.name == "model")
    shutil.move(scratch / model.file, out)
    return f"{out} ({out.stat().st_size:,} bytes)"

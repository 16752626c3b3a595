"""`coppice prune`: one file in, the pruned model out, on this machine or through a service."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import local, options, output
from coppice.client import Client
from coppice.errors import ParameterInvalid
from coppice.records.report import Progress, Report
from coppice.records.request import Framework, Part, Request

#: Suffixes that an output file may have, by what goes in; torch users write both.
RESULT_SUFFIXES = {Framework.PYTORCH: frozenset({".pt", ".pth"}), Framework.ONNX: frozenset({".onnx"})}

Out = Annotated[
    Path, typer.Option("--out", "-o", help="file for the pruned model, or a folder (no suffix) for every artifact")
]
Server = Annotated[str | None, typer.Option(help="send the job to this service, e.g. https://127.0.0.1:8443")]
# Read from the environment too: what is on a command line can be seen by every user of the machine.
ClientId = Annotated[str | None, typer.Option(envvar="COPPICE_CLIENT_ID", help="id of the API key")]
ClientSecret = Annotated[str | None, typer.Option(envvar="COPPICE_CLIENT_SECRET", help="secret of the API key")]
Insecure = Annotated[bool, typer.Option("--insecure", "-k", help="accept a self-signed certificate")]

#: What runs a job: writes its artifacts into the folder, tells its progress, returns its report.
Run = Callable[[Request, Mapping[Part, Path], Path, Callable[[Progress], None]], Report]


def prune(
    file: options.File,
    percent: options.Percent,
    out: Out,
    omit: options.Omit = "",
    criterion: options.Criterion = "l1",
    seed: options.Seed = 0,
    heads: options.Heads = "width",
    class_def: options.ClassDef = None,
    model_name: options.ModelName = None,
    model_args: options.ModelArgs = None,
    input_size: options.InputSize = None,
    dataset: options.Dataset = None,
    server: Server = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    insecure: Insecure = False,
    as_json: options.Json = False,
) -> None:
    """Remove a share of the channels of every group of layers; write a smaller model of the same kind."""
    arguments = options.Arguments(
        file=file,
        percent=percent,
        omit=omit,
        criterion=criterion,
        seed=seed,
        heads=heads,
        class_def=class_def,
        model_name=model_name,
        model_args=model_args,
        input_size=input_size,
        dataset=dataset,
    )
    with output.reported(as_json=as_json), options.request_of(arguments) as (request, files):
        _check_suffix(request, files, out)
        with ExitStack() as stack:
            run: Run = local.prune
            if server is not None:
                client = Client(server, client_id=client_id, client_secret=client_secret, verify=not insecure)
                run = stack.enter_context(client).run
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coppice-")))
            with output.progress_bar() as progress:
                report = run(request, files, scratch, progress)
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
        out.mkdir(parents=True, exist_ok=True)
        for artifact in report.artifacts:
            shutil.move(scratch / artifact.file, out / artifact.file)
        return f"{out}/: {', '.join(artifact.file for artifact in report.artifacts)}"
    out.parent.mkdir(parents=True, exist_ok=True)
    model = next(artifact for artifact in report.artifacts if artifact.name == "model")
    shutil.move(scratch / model.file, out)
    return f"{out} ({out.stat().st_size:,} bytes)"

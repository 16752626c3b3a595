"""Where the result of a command goes: one file, or a folder with every artifact."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

import typer

from coppice.cli import running
from coppice.errors import ParameterInvalid
from coppice.records.accounts import RESULTS
from coppice.records.frameworks import Framework
from coppice.records.plugins import formats
from coppice.records.quantization import Format
from coppice.records.report import Report
from coppice.records.request import Part, Request, Task

#: Suffixes that an output file may have, by what goes in; torch users write both.
RESULT_SUFFIXES = {Framework.PYTORCH: frozenset({".pt", ".pth"}), Framework.ONNX: frozenset({".onnx"})}
#: Likewise of a quantized model; what is not here takes more than one file to load.
_QUANTIZED_SUFFIXES = {Format.ONNX: frozenset({".onnx"}), Format.TFLITE: frozenset({".tflite"})}

Out = Annotated[
    Path, typer.Option("--out", "-o", help="file for the result, or a folder (no suffix) for every artifact")
]


def check_suffix(request: Request, files: Mapping[Part, Path], out: Path) -> None:
    """Refuse a file name that would lie about its content before any work is done."""
    if _is_folder(out):
        return
    allowed = _suffixes(request, files)
    if not allowed:
        raise ParameterInvalid(
            f"--out {out}: format=safetensors comes with what loads it, which is another file. Name a folder.",
            field="out",
        )
    if out.suffix.lower() not in allowed:
        kinds = " or ".join(sorted(allowed))
        kind = "as was asked" if request.quantization else "of the kind that was given"
        raise ParameterInvalid(f"--out {out}: the result is {kind}: {kinds}.", field="out")


def deliver(report: Report, scratch: Path, out: Path) -> str:
    """Move what was asked for to where it was asked for; says what was written."""
    if _is_folder(out):
        return running.moved(report, scratch, out)
    # Of a cut that was quantized, too, the smaller file is what was asked for.
    name = RESULTS[Task.QUANTIZE if report.request.quantization else report.request.task]
    result = next(artifact for artifact in report.artifacts if artifact.name == name)
    running.move(scratch / result.file, out)
    return f"{out} ({out.stat().st_size:,} bytes)"


def _suffixes(request: Request, files: Mapping[Part, Path]) -> Collection[str]:
    if request.quantization is not None:
        return _QUANTIZED_SUFFIXES.get(request.quantization.output_format, ())
    model = files.get(Part.MODEL)
    if model is not None and model.suffix.lower() in formats():
        return {model.suffix.lower()}
    return RESULT_SUFFIXES.get(request.framework) or {model.suffix.lower() if model else ""}


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix

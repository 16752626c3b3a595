"""The seam between the pipeline and the kinds of file that quantized models are written as.

A new kind is one module with a function `(task, out) -> Written` and a line in `WRITERS`. A writer opens what it wrote
in the runtime of its user, in a process of its own, and reports what it saw there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from coppice.errors import NotInstalled
from coppice.formats.source import Latency, Source
from coppice.quant import QuantizedModel
from coppice.records.frameworks import Framework
from coppice.records.plan import Plan
from coppice.records.quantization import Format, Wanted
from coppice.records.report import Arithmetic, Artifact
from coppice.tracing.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizing:
    """What there is to write, and what it is held to."""

    wanted: Wanted
    source: Source  # where the model came from
    plan: Plan  # what was cut of it before; empty where nothing was
    dense: nn.Module  # the model as it was quantized: in floats
    model: QuantizedModel
    calibration: Samples | None  # to find the scales of activations by
    held_out: Samples | None  # to run the written file on


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, and what its runtime says of it."""

    artifacts: tuple[Artifact, ...]  # the first is named "quantized"
    runtime: str  # name and version
    bytes_by_type: Mapping[str, int]  # data type -> bytes of the tensors of that type in the file
    float_bytes: int  # of the model as it was quantized, in the same kind of file
    outputs: tuple[Tensor, ...] | None  # of the file for the samples held out, a row for each; in the model's order
    arithmetic: Arithmetic
    #: What the runtime runs the file with, operator -> how many; those that multiply with weights.
    operators: Mapping[str, int]
    #: Layers that the runtime computes in floats though whole numbers were asked for -> why, where that is known.
    floating: Mapping[str, str] = field(default_factory=dict)
    latencies: tuple[Latency, Latency] | None = None  # of the float model in the same runtime, and of the file
    notes: tuple[str, ...] = ()


Writer = Callable[[Quantizing, Path], Written]

#: (framework, kind of file) -> "module:function".
WRITERS: Mapping[tuple[Framework, Format], str] = {
    (Framework.PYTORCH, Format.ONNX): "coppice.formats.onnx.quantized:write",
    (Framework.KERAS, Format.ONNX): "coppice.formats.onnx.quantized:write",
    (Framework.ONNX, Format.ONNX): "coppice.formats.onnx.quantized:write",
    (Framework.PYTORCH, Format.SAFETENSORS): "coppice.formats.packed.torch_files:write",
    (Framework.KERAS, Format.SAFETENSORS): "coppice.formats.packed.keras_files:write",
    (Framework.KERAS, Format.TFLITE): "coppice.formats.tflite.write:write",
}


def write_quantized(framework: Framework, task: Quantizing, out: Path) -> Written:
    """Write a quantized model into the folder `out`, open it again and run it; raises a CoppiceError."""
    module, function = WRITERS[framework, task.wanted.output_format].split(":")
    try:
        writer = cast(Writer, getattr(import_module(module), function))
    except ModuleNotFoundError as e:
        raise NotInstalled(f"format={task.wanted.output_format} needs the package {e.name}, not installed here.") from e
    return writer(task, out)

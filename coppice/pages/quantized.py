"""What the page of a report shows of a quantized file: how small it is, what computes it, and how good it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from coppice.pages.figures import CostLine, columns_of, time_of
from coppice.records.quantization import Activations, Format
from coppice.records.quantized_words import COMPUTED_IN, executed
from coppice.records.report import Fidelity, LayerPrecision, Quality, Quantized, Raised, Report
from coppice.records.request import Task

FORMATS: Mapping[Format, str] = {
    Format.ONNX: "an ONNX model",
    Format.TFLITE: "a TFLite model",
    Format.SAFETENSORS: "packed tensors (safetensors)",
}

_FLOWING: Mapping[Activations, str] = {
    Activations.INT8: "int8, by scales that were calibrated on samples",
    Activations.UINT8: "uint8, by scales that were calibrated on samples",
    Activations.DYNAMIC: "eight bits, by scales that are found at every run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeLine:
    """What the tensors of one data type take."""

    name: str
    bytes: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLine:
    """One try of the search."""

    kept: str
    trial: Raised


def held(found: Quantized) -> str:
    """What weights, biases and activations are kept in, in a sentence."""
    flowing = _FLOWING.get(found.activations, str(found.activations))
    return (
        f"It is {FORMATS[found.output_format]}: weights {found.weights}, biases {found.biases}, activations {flowing}."
    )


def layer_bytes(layer: LayerPrecision) -> int:
    """What the weights of a layer take without their scales; the last byte may be filled in part."""
    return -(-layer.parameters * layer.precision.bits // 8)


def of_quantized(report: Report) -> dict[str, object]:
    """What the template of a report takes beside the report for its quantized file; nothing where there is none."""
    found, quality = report.quantized, report.quality
    if found is None:
        return {"small": None}
    stages = _stages(report, found, quality)
    return {
        "small": found,
        "executed": executed(found),
        "held": held(found),
        "small_costs": list(_costs(found)),
        "small_columns": columns_of(quality) if quality and stages else [],
        "small_stages": stages,
        "noise": _noise(found),
        "types": _types(found),
        "layer_bytes": layer_bytes,
        "raised": [TrialLine(kept=_kept(trial), trial=trial) for trial in found.trials],
    }


def headline(report: Report, found: Quantized) -> Iterator[tuple[str, str, str]]:
    """(label, figure, detail), the most telling first."""
    yield (
        "file, of that in floats",
        f"{found.file_bytes / found.float_file_bytes:.1%}",
        f"{found.file_bytes:,} bytes; in floats {found.float_file_bytes:,}",
    )
    sent = report.before.file_bytes
    if sent and report.request.task is not Task.QUANTIZE:
        yield "file, of the one that was sent", f"{found.file_bytes / sent:.1%}", f"of {sent:,} bytes"
    yield "computed in", COMPUTED_IN[found.arithmetic], f"by {found.runtime}"
    if report.quality is not None and found.fidelity is not None:
        column = columns_of(report.quality)[0]
        cut = found.float_fidelity if report.request.task is not Task.QUANTIZE else None
        floats = "" if cut is None else f"{column.of(cut)} in floats, "
        yield (
            f"{column.label} of the file",
            column.of(found.fidelity),
            f"{floats}{column.of(report.quality.before)} as it was sent",
        )
    if found.latency_ms is not None and found.float_latency_ms:
        yield (
            "time of one sample",
            f"{found.latency_ms / found.float_latency_ms:.1%}",
            f"of that in floats, in {found.runtime}",
        )


def _costs(found: Quantized) -> Iterator[CostLine]:
    yield CostLine(
        label="quantized file, bytes",
        before=f"{found.float_file_bytes:,}",
        after=f"{found.file_bytes:,}",
        left=found.file_bytes / found.float_file_bytes,
    )
    if found.latency_ms is not None and found.float_latency_ms:
        yield CostLine(
            label="latency of one sample there, ms",
            before=time_of(found.float_latency_ms, found.float_latency_spread_ms),
            after=time_of(found.latency_ms, found.latency_spread_ms),
            left=found.latency_ms / found.float_latency_ms,
        )


def _stages(report: Report, found: Quantized, quality: Quality | None) -> list[tuple[str, Fidelity]]:
    if quality is None or found.fidelity is None:
        return []
    stages = [("as it was sent", quality.before)]
    if found.float_fidelity is not None and report.request.task is not Task.QUANTIZE:
        stages.append(("pruned, in floats", found.float_fidelity))
    return [*stages, (f"the file, in {found.runtime}", found.fidelity)]


def _noise(found: Quantized) -> str:
    if found.fidelity is None:
        return ""
    if found.snr_db is None:
        return "The file's outputs are those of the model in floats."
    return (
        f"Signal to noise: {found.snr_db:.1f} dB, the power of the outputs in floats over that of the file's "
        "difference from them."
    )


def _types(found: Quantized) -> list[TypeLine]:
    whole = sum(found.bytes_by_type.values())
    ranked = sorted(found.bytes_by_type.items(), key=lambda entry: -entry[1])
    return [TypeLine(name=name, bytes=size, share=size / whole if whole else 0.0) for name, size in ranked]


def _kept(trial: Raised) -> str:
    return ", ".join(f"{count} in {precision}" for precision, count in trial.layers.items())

"""What became of a quantized model, in words: the lines with which its status message begins, and which commands print.

The first line is the whole of it: kind of file, sizes, who computes it in what, and how good it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby

from coppice.records.figures import significant
from coppice.records.quantization import Format, Precision
from coppice.records.report import Arithmetic, Fidelity, LayerPrecision, Quantized

#: Layers that one line names; the report names all.
_NAMED = 8

#: Kinds of file as they are written in a sentence.
SPELLED: Mapping[Format, str] = {Format.ONNX: "ONNX", Format.TFLITE: "TFLite", Format.SAFETENSORS: "safetensors"}

#: What products are computed in, in a word or two.
COMPUTED_IN: Mapping[Arithmetic, str] = {
    Arithmetic.INTEGER: "integers",
    Arithmetic.MIXED: "integers and floats",
    Arithmetic.FLOAT: "floats",
}

#: The same in a sentence, where weights are whole numbers.
_EXECUTED: Mapping[Arithmetic, str] = {
    Arithmetic.INTEGER: "Computed in integers by {runtime}.",
    Arithmetic.MIXED: "Computed by {runtime} in integers in part, and in floats for the rest.",
    Arithmetic.FLOAT: "Stored in {bits}, computed in floats by {runtime}: the file gets small, memory and speed "
    "don't change.",
}

#: Figures of a fidelity, and how they are read.
_FIGURES: Mapping[str, Callable[[float], str]] = {
    "accuracy": "{:.1%}".format,
    "agreement": "{:.1%}".format,
    "error": significant,
    "distance": significant,
}


def lines(found: Quantized) -> tuple[str, ...]:
    """A sentence each, what matters most first."""
    return (_headline(found), *_details(found))


def executed(found: Quantized) -> str:
    """What a runtime really does with the file, in a sentence: integer arithmetic, or storage alone."""
    floats = found.arithmetic is Arithmetic.FLOAT and not found.weights.whole
    told = "Stored in {weights}, computed in floats by {runtime}." if floats else _EXECUTED[found.arithmetic]
    return told.format(runtime=found.runtime, weights=found.weights, bits=_bits(found))


def _bits(found: Quantized) -> str:
    """The fewest and the most bits of what is kept in whole numbers."""
    bits = {layer.precision.bits for layer in found.layers if layer.precision.whole} or {found.weights.bits}
    low, high = min(bits), max(bits)
    return f"{low} to {high} bits" if low < high else f"{low} bit{'s' if low > 1 else ''}"


def _headline(found: Quantized) -> str:
    share = f", {found.file_bytes / found.float_file_bytes:.1%}" if found.float_file_bytes else ""
    told = [
        f"Quantized: {found.weights} {SPELLED[found.output_format]}",
        f"{found.file_bytes:,} bytes (in floats {found.float_file_bytes:,}{share})",
        f"computed in {COMPUTED_IN[found.arithmetic]} by {found.runtime}",
    ]
    merit = _merit(found.fidelity)
    if merit is not None and found.fidelity is not None:
        told.append(f"{merit} {_figure(found.fidelity, merit)} (in floats {_figure(found.float_fidelity, merit)})")
    return ", ".join(told) + "."


def _details(found: Quantized) -> Iterator[str]:
    yield f"Weights {found.weights}, biases {found.biases}, activations {found.activations}. {executed(found)}"
    if found.operators:
        run = ", ".join(f"{name} {count}" for name, count in found.operators.items())
        yield f"Operators that multiply by weights, as run: {run}."
    sizes = ", ".join(f"{name} {size:,}" for name, size in found.bytes_by_type.items())
    yield f"Bytes of the file's tensors by type: {sizes}."
    if found.fidelity is not None:
        given = [name for name in _FIGURES if getattr(found.fidelity, name) is not None]
        figures = [f"{name} {_figure(found.fidelity, name)}" for name in given]
        snr = [] if found.snr_db is None else [f"{found.snr_db:.1f} dB over its error"]
        yield f"On samples held out: {', '.join((*figures, *snr))}."
    if found.latency_ms is not None and found.float_latency_ms:
        share = found.latency_ms / found.float_latency_ms
        yield f"One sample takes {found.latency_ms:.3g} ms, in floats {found.float_latency_ms:.3g} ms ({share:.0%})."
    yield from _otherwise(found.layers)
    yield from _grouped("Computed in floats", found.floating)


def _otherwise(layers: Iterable[LayerPrecision]) -> Iterator[str]:
    """Layers kept otherwise than was asked, by precision."""
    told = sorted((layer for layer in layers if layer.reason is not None), key=lambda layer: -layer.precision.bits)
    for precision, same in groupby(told, key=lambda layer: layer.precision):
        left = "Left in float32" if precision is Precision.FLOAT32 else f"Kept in {precision}"
        yield from _grouped(left, {layer.name: layer.reason or "" for layer in same})


def _grouped(what: str, reasons: Mapping[str, str]) -> Iterator[str]:
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, why in reasons.items() if why == reason]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{what}: {', '.join(names[:_NAMED])}{more}" + (f": {reason.rstrip('.')}." if reason else ".")


def _merit(fidelity: Fidelity | None) -> str | None:
    """The figure that says most of what the samples give."""
    return next((name for name in _FIGURES if getattr(fidelity, name, None) is not None), None)


def _figure(fidelity: Fidelity | None, name: str) -> str:
    value = getattr(fidelity, name, None)
    return "no number" if value is None else _FIGURES[name](value)

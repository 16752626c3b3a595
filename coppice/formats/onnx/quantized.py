"""Quantized models as ONNX: weights of few bits, and eight-bit or half-precision activations, for a stock ONNX Runtime.

    activations=float32         weights are kept small, and are floats from loading on (`packed`)
    activations=int8, uint8     products in whole numbers (`quantized_integers`)
    activations=float16         products in half precision

The model is rounded before it comes here. It is exported in floats, and the grids are found again in what came out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import numpy_helper

from coppice.errors import SamplesMissing, UnsupportedLayer
from coppice.formats.onnx.order import put_in_order
from coppice.formats.onnx.packed import Packing
from coppice.formats.onnx.quantized_grids import Recovered, nearest, recovered
from coppice.formats.onnx.quantized_integers import KERNELS, Integers, no_kernel, without_last_step
from coppice.formats.onnx.quantized_names import LayerNames, shorten
from coppice.formats.onnx.quantized_prepared import batch, bytes_by_type, declared, prepared, tool
from coppice.formats.onnx.quantized_run import BATCH, check, run, save
from coppice.formats.onnx.quantized_weights import Weight, biases_of, weights_of
from coppice.formats.quantized import Quantizing, Written
from coppice.records.quantization import Activations, Precision
from coppice.records.report import Artifact

#: Samples that the scales of activations are found by: the extremes settle early.
MOST_CALIBRATED = 256
#: What a file may differ from the rounded module by, relative to the largest output; none where it rounds again.
EXACT, HALF = 1e-4, 2e-2
#: What normalizes each sample by its own numbers.
_NORMALIZED = frozenset({"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"})
#: Why the runtime computes in floats what could be whole numbers.
_UNFUSED: Mapping[Activations, str] = {
    Activations.UINT8: "ONNX Runtime fuses no integer kernel of it",
    Activations.INT8: "ONNX Runtime turns int8 into uint8 on x86, but not what two layers read, and fuses no integer "
    "kernel there; activations=uint8 is for x86, int8 for ARM",
}


@dataclass(slots=True, kw_only=True)
class Draft:
    """A model on its way to few bits."""

    task: Quantizing
    folder: Path
    model: onnx.ModelProto
    names: LayerNames
    weights: Mapping[str, Weight]
    found: Mapping[str, Recovered]
    #: Layers that can't be computed in whole numbers -> why.
    reasons: dict[str, str] = field(default_factory=dict)
    tolerance: float | None = EXACT


def write(task: Quantizing, out: Path) -> Written:
    """Write, run and judge the file; raises UnsupportedLayer, SamplesMissing, ReloadFailed."""
    artifact = Artifact(name="quantized", file=f"{task.source.stem}_quantized.onnx")
    path = out / artifact.file
    # Beside the file: temporary folders may be small, and these hold the model several times.
    with tempfile.TemporaryDirectory(dir=out, prefix=".quantized-") as name:
        folder = Path(name)
        model, floats = prepared(task, folder)
        weights = weights_of(model)
        draft = Draft(
            task=task,
            folder=folder,
            model=model,
            names=LayerNames(task.source.network.layers),
            weights=weights,
            found=_recovered(task, model, weights),
        )
        made = _FORMS[task.wanted.numbers.activations](draft)
        shorten(made)
        onnx.save_model(made, path)
        seen = run(task, path, floats, folder)
        float_bytes = floats.stat().st_size
    check(task, seen.outputs, draft.tolerance)
    whole = task.wanted.numbers.activations.calibrated
    unknown = _UNFUSED[task.wanted.numbers.activations] if whole else ""
    return Written(
        artifacts=(artifact,),
        runtime=seen.runtime,
        bytes_by_type=bytes_by_type(onnx.load(path)),
        float_bytes=float_bytes,
        outputs=None if task.held_out is None else seen.outputs,
        arithmetic=seen.arithmetic,
        operators=seen.operators,
        floating={layer: draft.reasons.get(layer, unknown) for layer in seen.floating} if whole else {},
        latencies=seen.latencies,
        notes=_notes(draft),
    )


def _notes(draft: Draft) -> tuple[str, ...]:
    """Which weights were rounded and are floats in the file all the same."""
    kept = {tensor.rpartition(".")[0] for tensor in draft.task.model.left}
    lost = [
        layer
        for name, weight in draft.weights.items()
        if name not in draft.found and draft.task.model.coded
        for layer in dict.fromkeys(draft.names.of(node) for node in weight.nodes)
        if layer not in kept
    ]
    if not lost:
        return ()
    shown = ", ".join(lost[:8]) + (" and more" if len(lost) > 8 else "")  # enough to look at
    return (f"Kept as float32, for no grid is left of their weights in the exported model: {shown}.",)


def _recovered(task: Quantizing, model: onnx.ModelProto, weights: Mapping[str, Weight]) -> dict[str, Recovered]:
    """The weights that lie on grids; raises UnsupportedLayer where none does though they were rounded."""
    choices = {coded.bits for coded in task.model.coded.values()}
    found = {}
    for tensor in model.graph.initializer:
        weight = weights.get(tensor.name)
        if weight is not None and choices:
            values = numpy_helper.to_array(tensor).reshape(weight.view)
            if (one := recovered(values, weight.summed, choices)) is not None:
                found[tensor.name] = one
    if choices and not found:
        raise UnsupportedLayer(
            "No weight of the exported model is what was rounded: all of them are computed on the way, or are not "
            "float32. Nearest: format=safetensors."
        )
    return found


def _weights_only(draft: Draft) -> onnx.ModelProto:
    packing = Packing(draft.model)
    shapes = {one.name: tuple(one.dims) for one in draft.model.graph.initializer}
    for name, one in draft.found.items():
        packing.floats(name, one, shapes[name])
    for name in draft.weights:
        if name not in draft.found and _is_half(draft, name):
            packing.halves(name)
            draft.tolerance = HALF
    _biases(draft, packing)
    packing.finish()
    return draft.model


def _is_half(draft: Draft, name: str) -> bool:
    """Whether a weight was rounded to half precision."""
    halves = [tensor for tensor, one in draft.task.model.floats.items() if one is Precision.FLOAT16]
    layers = {draft.names.of(node) for node in draft.weights[name].nodes}
    kept = {tensor.rpartition(".")[0] for tensor in draft.task.model.left} - {one.rpartition(".")[0] for one in halves}
    return bool(halves) and not layers & kept


def _biases(draft: Draft, packing: Packing) -> None:
    asked = draft.task.wanted.numbers.biases
    constants = {one.name: one for one in draft.model.graph.initializer}
    for name in biases_of(draft.model):
        values = numpy_helper.to_array(constants[name])
        if asked is Precision.FLOAT16:
            packing.halves(name)
            draft.tolerance = HALF
        elif asked.whole:
            one = recovered(values, range(values.ndim), {asked.bits})
            if one is None:  # a batch norm was folded into it
                one, draft.tolerance = nearest(values, asked.bits), None
            packing.floats(name, one, values.shape)


def _integers(draft: Draft) -> onnx.ModelProto:
    numbers, calibration = draft.task.wanted.numbers, draft.task.calibration
    if calibration is None or not len(calibration):
        raise SamplesMissing(
            f"activations={numbers.activations} are scaled by what samples give, and there are none. Send a dataset, "
            "or ask for activations=float32.",
            field="dataset",
        )
    draft.tolerance = None
    nodes = {node.name: node for node in draft.model.graph.node}
    excluded = []
    for name, weight in draft.weights.items():
        for node in weight.nodes:
            reason = no_kernel(nodes[node], weight, draft.found.get(name))
            if reason:
                excluded.append(node)
                draft.reasons[draft.names.of(node)] = reason
    operators, others = _quantizable(draft.model, draft.weights)
    onnx.save_model(draft.model, draft.folder / "rounded.onnx")
    few = calibration[slice(0, MOST_CALIBRATED)]
    save(draft.folder / "samples.npz", dict(zip(declared(draft.model), few.inputs, strict=True)))
    job = {
        "model": str(draft.folder / "rounded.onnx"),
        "out": str(draft.folder / "whole.onnx"),
        "samples": str(draft.folder / "samples.npz"),
        "batch": few.only or batch(draft.model, BATCH),
        "activations": str(numbers.activations),
        "whole_biases": numbers.biases is Precision.INT32,
        "excluded": [*excluded, *others],
        "operators": list(operators),
        "method": "MinMax",
    }
    tool("calibrate", draft.folder, job)
    model = onnx.load(draft.folder / "whole.onnx")
    packing = Packing(model)
    apart = {name for name, weight in draft.weights.items() if set(weight.nodes) <= set(excluded)}
    Integers(model, draft.model, packing).replace({name: one for name, one in draft.found.items() if name not in apart})
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for name in apart & draft.found.keys():
        packing.floats(name, draft.found[name], shapes[name])
    packing.finish()
    if numbers.biases is Precision.INT32:  # with a bias in floats the runtime wants whole outputs to fuse
        without_last_step(model)
    return model


def _quantizable(model: onnx.ModelProto, weights: Mapping[str, Weight]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The operators to compute in whole numbers, all where none is named, and the nodes of them that are not.

    Where layers are normalized in between, what flows has outliers that eight bits don't hold: there the products with
    weights alone are whole (measured on a transformer: 32 dB instead of 29.6).
    """
    if not any(node.op_type in _NORMALIZED for node in model.graph.node):
        return (), ()
    weighted = {name for weight in weights.values() for name in weight.nodes}
    free = (node.name for node in model.graph.node if node.op_type == "MatMul" and node.name not in weighted)
    return tuple(KERNELS), tuple(free)


def _halves(draft: Draft) -> onnx.ModelProto:
    kept = {tensor.rpartition(".")[0] for tensor in draft.task.model.left.keys() - draft.task.model.floats.keys()}
    excluded = [node.name for node in draft.model.graph.node if draft.names.of(node.name) in kept]
    onnx.save_model(draft.model, draft.folder / "rounded.onnx")
    job = {"model": str(draft.folder / "rounded.onnx"), "out": str(draft.folder / "half.onnx"), "excluded": excluded}
    tool("half", draft.folder, job)
    draft.tolerance = None
    model = onnx.load(draft.folder / "half.onnx")
    put_in_order(model)
    return model


_FORMS: Mapping[Activations, Callable[[Draft], onnx.ModelProto]] = {
    Activations.FLOAT32: _weights_only,
    Activations.FLOAT16: _halves,
    Activations.INT8: _integers,
    Activations.UINT8: _integers,
}

"""A model as ONNX that is ready for few bits: exported, constants computed, batch norms folded, its nodes named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from coppice.errors import ReloadFailed, UnsupportedLayer
from coppice.formats.clean_process import CleanProcessFailed, run_clean
from coppice.formats.onnx.file import STANDARD, opset
from coppice.formats.quantized import Quantizing

SCRIPT = "onnx/clean_prepared.py"
#: Calibration runs the model on some hundred samples; on a busy machine that may take minutes.
SECONDS = 900
#: From here on there are scales for each channel (QuantizeLinear with an axis), and BitShift.
OPSET = 13
#: Folded constants that are so much larger than what they were made from are no gain.
_GROWTH = 1.05
#: Types that ONNX calls otherwise than the rest of the world does.
_NAMES = {TensorProto.FLOAT: "float32"}


def prepared(task: Quantizing, folder: Path) -> tuple[onnx.ModelProto, Path]:
    """The rounded model, and the file in floats that it was made from; raises UnsupportedLayer."""
    floats, folded = folder / "floats.onnx", folder / "folded.onnx"
    task.source.export_onnx(task.model.module, floats)
    model = onnx.load(floats)
    if opset(model) < OPSET:
        model = _newer(model)
        onnx.save_model(model, folder / "newer.onnx")
    source = folder / "newer.onnx" if (folder / "newer.onnx").exists() else floats
    tool("fold", folder, {"model": str(source), "out": str(folded)})
    smaller = onnx.load(folded)
    if sum(bytes_by_type(smaller).values()) <= sum(bytes_by_type(model).values()) * _GROWTH:
        model = smaller
    _tidy(model)
    return model, floats


def tool(task: str, folder: Path, job: dict[str, Any]) -> None:
    """Let ONNX Runtime's own tools make a file, in a process of its own; raises ReloadFailed."""
    try:
        error = run_clean(SCRIPT, {**job, "task": task, "folder": str(folder)}, folder, seconds=SECONDS)
    except CleanProcessFailed as e:
        raise ReloadFailed(f"ONNX Runtime could not {task} the model: {e}") from e
    if error:
        raise ReloadFailed(f"ONNX Runtime could not {task} the model: {error}")


def _newer(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        reason = (str(e).strip().splitlines() or [type(e).__name__])[0][:300]
        raise UnsupportedLayer(
            f"The model is of opset {opset(model)}; few bits need {OPSET}, and it can't be converted: {reason}. "
            f"Export it with opset_version={OPSET}."
        ) from e


def _tidy(model: onnx.ModelProto) -> None:
    """Leave out domains that nothing is of, name every node, and give every product a bias of its own."""
    used = {node.domain for node in model.graph.node} | set(STANDARD)
    for entry in [one for one in model.opset_import if one.domain not in used]:
        model.opset_import.remove(entry)
    names: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.name or node.op_type}_{number}"
        names.add(node.name)
    _own_biases(model)
    _outputs_apart(model)


def _own_biases(model: onnx.ModelProto) -> None:
    """Exporters keep equal biases once; as whole numbers each has the scale of its own product."""
    constants = {one.name: one for one in model.graph.initializer if one.data_type == TensorProto.FLOAT}
    seen: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.input[2] not in constants:
            continue
        name = node.input[2]
        if name in seen:
            copy = TensorProto()
            copy.CopyFrom(constants[name])
            copy.name = node.input[2] = f"{node.name}/bias"
            model.graph.initializer.append(copy)
        seen.add(name)


def _outputs_apart(model: onnx.ModelProto) -> None:
    """Let nothing read an output of the graph: a quantizer gives it the range that is left by a ReLU that reads it."""
    outputs = {entry.name for entry in model.graph.output} & {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        for kind in (node.input, node.output):
            for position, name in enumerate(kind):
                if name in outputs:
                    kind[position] = f"{name}/inside"
    for name in outputs:
        model.graph.node.append(helper.make_node("Identity", [f"{name}/inside"], [name], name=f"{name}/outside"))


def declared(model: onnx.ModelProto) -> tuple[str, ...]:
    """The inputs of a graph, in order, without the constants that old files list among them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return tuple(entry.name for entry in model.graph.input if entry.name not in constants)


def batch(model: onnx.ModelProto, free: int) -> int:
    """How many samples the graph takes at a time: what it was exported for, or `free` where it takes any number."""
    names = declared(model)
    sizes = [entry.type.tensor_type.shape.dim[:1] for entry in model.graph.input if entry.name in names]
    fixed = [size[0].dim_value for size in sizes if size and size[0].dim_value > 0]
    return int(fixed[0]) if fixed else free


def bytes_by_type(model: onnx.ModelProto) -> dict[str, int]:
    """Data type -> bytes of all constants of that type in a file."""
    found: dict[str, int] = {}
    held = [
        *model.graph.initializer,
        *(one.t for node in model.graph.node for one in node.attribute if one.HasField("t")),
    ]
    for tensor in held:
        name = _NAMES.get(tensor.data_type, TensorProto.DataType.Name(tensor.data_type).lower())
        found[name] = found.get(name, 0) + _size(tensor)
    return found


def _size(tensor: TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    count = 1
    for size in tensor.dims:
        count *= size
    return int(count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)

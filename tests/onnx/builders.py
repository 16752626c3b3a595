"""Small ONNX graphs, how they are pruned, and what ONNX Runtime says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from coppice import pipeline
from coppice.formats.onnx.file import read
from coppice.formats.onnx.source import open_onnx
from coppice.formats.onnx.write import edited
from coppice.onnx_operators import OnnxNetwork
from coppice.records.frameworks import Framework
from coppice.records.report import FrozenReport, GroupReport, Report, Verification
from coppice.records.request import Part, Request

Array = NDArray[Any]
#: The IR version that came with an operator set, so that old files look as they did.
_IR = {
    9: 4,
    10: 5,
    11: 6,
    12: 7,
    13: 7,
    14: 7,
    15: 8,
    16: 8,
    17: 8,
    18: 8,
    19: 9,
    20: 9,
    21: 10,
    22: 10,
    23: 11,
    24: 12,
}


def weights(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def numbers(*values: int) -> Array:
    return np.array(values, np.int64)


def graph(
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Array],
    *,
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    opset: int = 17,
) -> onnx.ModelProto:
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(list(nodes), "small", declared, results, tensors)
    domains = {"": opset, **{one.domain: 1 for one in nodes if one.domain}}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model = helper.make_model(made, opset_imports=imports, ir_version=_IR[opset])
    model.metadata_props.add(key="author", value="somebody")
    return model


def between(*middle: NodeProto, opset: int, constants: Mapping[str, Array] | None = None) -> onnx.ModelProto:
    """A convolution of 8 channels, whatever stands between `a` and `z`, and a convolution of 4, which is the output."""
    return graph(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first", pads=[1, 1, 1, 1]),
            *middle,
            helper.make_node("Conv", ["z", "w2"], ["y"], name="last"),
        ],
        {"w1": weights(8, 3, 3, 3), "b1": weights(8), "w2": weights(4, 8, 1, 1), **(constants or {})},
        inputs={"x": ["batch", 3, 8, 8]},
        outputs={"y": ["batch", 4, "height", "width"]},
        opset=opset,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cut that passed the oracle, and the model that it makes of the user's; neither measured nor loaded back."""

    model: onnx.ModelProto
    groups: tuple[GroupReport, ...]
    frozen: tuple[FrozenReport, ...]
    verification: Verification


def pruned(model: onnx.ModelProto, folder: Path, *, percent: float = 0.5, **asked: Any) -> Cut:
    """The quick part of the pipeline: no process of its own, no measuring."""
    path = folder / "small.onnx"
    onnx.save_model(model, path)
    request = Request(framework=Framework.ONNX, percent=percent, files={Part.MODEL: path.name}, **asked)
    source = open_onnx(request, {Part.MODEL: path})
    found = pipeline.prune(source.network, request, lambda _: None)
    assert isinstance(found.module, OnnxNetwork)
    written = edited(read(path, path.name), found.module, source.network.inputs)
    return Cut(model=written, groups=found.groups, frozen=found.frozen, verification=found.verification)


def pruned_file(path: Path, out: Path, *, percent: float = 0.5, **asked: Any) -> tuple[onnx.ModelProto, Report]:
    """The whole pipeline, from file to file."""
    out.mkdir(exist_ok=True)
    request = Request(framework=Framework.ONNX, percent=percent, files={Part.MODEL: path.name}, **asked)
    report = pipeline.run(request, {Part.MODEL: path}, out, lambda _: None)
    (artifact,) = [artifact for artifact in report.artifacts if artifact.name == "model"]
    return onnx.load(out / artifact.file), report


def initializers(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(model: onnx.ModelProto, **inputs: Array) -> list[Array]:
    """The outputs by ONNX Runtime, which has seen nothing of ours."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, inputs)
    return found


def with_zeros(model: onnx.ModelProto, cut: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """The model with zeros for the filters that the cut one lost: found by their weights, not by any plan."""
    masked = onnx.ModelProto()
    masked.CopyFrom(model)
    before, after = initializers(model), initializers(cut)
    first = names[0]
    kept = [any(np.array_equal(row.ravel()[:9], there.ravel()[:9]) for there in after[first]) for row in before[first]]
    assert sum(kept) == len(after[first]) < len(before[first])
    for tensor in masked.graph.initializer:
        if tensor.name in names:
            array = before[tensor.name].copy()
            array[~np.array(kept)] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return masked

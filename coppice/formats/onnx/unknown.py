"""Nodes that the interpreter has no row for: ONNX Runtime computes them, each in a session of its own."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper

from coppice.errors import UnsupportedLayer
from coppice.formats.onnx.bodies import bodies, captured, nodes_within
from coppice.formats.onnx.constants import tensor_of
from coppice.formats.onnx.file import STANDARD
from coppice.onnx_operators.evaluated import Evaluate
from coppice.onnx_operators.graph import Array

#: From this IR version on an initializer needn't be an input, too.
_SINCE_BARE = 4
#: An output that nobody asked for.
_MISSING = np.zeros(0, np.float32)
#: What gives other values at every run, so that no two models could be compared.
_RANDOM = re.compile(r"Random(?:Normal|Uniform)(?:Like)?|Bernoulli|Multinomial")


class Alone:
    """The model's nodes by themselves; what surrounds them is asked once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model

    @functools.cached_property
    def _types(self) -> dict[str, int]:
        return _inferred(self._model)

    @functools.cached_property
    def _constants(self) -> dict[str, TensorProto]:
        return dict(_constants(self._model.graph))

    def evaluate(self, node: NodeProto, name: str, origin: str) -> Evaluate:
        """What computes the node; when it is run, it raises UnsupportedLayer where nothing does."""
        shown = f"node {name[:100]!r} is a {node.op_type} of the domain {node.domain[:100] or STANDARD[-1]} ({origin})"
        sessions: dict[tuple[int, ...], Any] = {}

        def run(arrays: Mapping[str, Array]) -> Sequence[Array]:
            if _RANDOM.fullmatch(node.op_type):
                raise UnsupportedLayer(f"{shown}, which differs from run to run. Export without it.", field=name)
            types = {value: self._types.get(value) or _type(array) for value, array in arrays.items()}
            session = sessions.get(key := tuple(types.values()))
            try:
                if session is None:
                    session = sessions[key] = _session(self._alone(node, types))
            except Exception as e:  # whatever the runtime says of an operator that it doesn't have
                raise UnsupportedLayer(f"{shown}, which ONNX Runtime can't run: {_first_line(e)}", field=name) from e
            given = {
                value: array.astype(helper.tensor_dtype_to_np_dtype(types[value]), copy=False)
                for value, array in arrays.items()
            }
            try:
                results = session.run(None, given)
            except Exception as e:  # of one input, as torch's own operators fail; another may do
                raise RuntimeError(f"ONNX Runtime says: {_first_line(e)}") from e
            if not all(isinstance(one, np.ndarray) and one.dtype.kind in "fiub" for one in results):
                raise UnsupportedLayer(
                    f"{shown}: it gives something else than tensors of numbers. Export without it.", field=name
                )
            made = dict(zip((value for value in node.output if value), results, strict=True))
            self._types.update({value: _type(array) for value, array in made.items()})
            return [_computed(made.get(value, _MISSING)) for value in node.output]

        return run

    def _alone(self, node: NodeProto, inputs: Mapping[str, int]) -> onnx.ModelProto:
        graph = helper.make_graph(
            [node],
            "alone",
            [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()],
            [helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name],
        )
        for name in dict.fromkeys((*node.input, *captured(node))):
            if name in self._constants:
                graph.initializer.add().CopyFrom(self._constants[name])
                graph.initializer[-1].name = name
        version = max(self._model.ir_version, _SINCE_BARE)
        return helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=version)


def _constants(graph: GraphProto) -> Iterator[tuple[str, TensorProto]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in nodes_within(graph):
        if node.op_type == "Constant":
            yield node.output[0], tensor_of(node)
        for body in bodies(node):
            yield from ((tensor.name, tensor) for tensor in body.initializer)


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime  # late: it takes a second, and few models need it here

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _computed(array: Array) -> Array:
    """Half precision is computed in single."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _inferred(model: onnx.ModelProto) -> dict[str, int]:
    """The element types of values, as far as the standard's inference gets; it isn't shown the weights."""
    graph = helper.make_graph(model.graph.node, "types", model.graph.input, [], value_info=model.graph.value_info)
    declared = {entry.name for entry in graph.input}
    for tensor in model.graph.initializer:
        if tensor.name not in declared:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    light = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    found = onnx.shape_inference.infer_shapes(light).graph
    return {
        entry.name: entry.type.tensor_type.elem_type
        for entry in (*found.input, *found.value_info)
        if entry.type.HasField("tensor_type") and entry.type.tensor_type.elem_type
    }


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

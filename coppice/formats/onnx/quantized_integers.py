"""Activations in eight bits: ONNX Runtime's own tool finds their scales, and our codes replace the weights it rounded.

What comes out is in QuantizeLinear and DequantizeLinear, which runtimes fuse to integer kernels. Weights of fewer than
eight bits are kept packed, and are int8 from loading on: the kernels are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from coppice.formats.onnx.packed import Packing
from coppice.formats.onnx.quantized_grids import Recovered
from coppice.formats.onnx.quantized_weights import Weight

#: The operators whose products integer kernels compute -> the axis of the weight that its outputs are along.
KERNELS: Mapping[str, int] = {"Conv": 0, "Gemm": -1, "MatMul": -1}
#: Biases are int32; half of that leaves room for what is summed.
_LARGEST_BIAS = 2**30

Array = NDArray[Any]


def no_kernel(node: NodeProto, weight: Weight, recovered: Recovered | None) -> str:
    """Why a product can't be computed in integers; nothing where it can."""
    if recovered is None:
        return "its weights are kept in floats"
    if node.op_type not in KERNELS:
        return f"ONNX Runtime has no integer kernel for {node.op_type}"
    if len(_outputs(recovered)) != 1 or list(node.input).index(weight.name) != 1:
        return "ONNX Runtime's integer kernels take one scale for each column of the second factor only"
    return ""


def _outputs(recovered: Recovered) -> list[int]:
    """The axes along which scales differ, or could."""
    return [axis for axis, size in enumerate(recovered.scale.shape) if size > 1] or [0]


@dataclass(slots=True)
class Integers:
    """Puts codes and scales of ours into a model that was quantized by ONNX Runtime's tool, in place."""

    model: onnx.ModelProto
    #: The model in floats that it was made from.
    floats: onnx.ModelProto
    packing: Packing
    _makers: dict[str, NodeProto] = field(default_factory=dict)
    _values: dict[str, Array] = field(default_factory=dict)
    _biases: dict[str, Array] = field(default_factory=dict)

    def replace(self, found: Mapping[str, Recovered]) -> None:
        """Weights by the name that they have in the model in floats."""
        self._makers = {output: node for node in self.model.graph.node for output in node.output}
        self._values = {one.name: numpy_helper.to_array(one) for one in self.model.graph.initializer}
        initial = {one.name: one for one in self.floats.graph.initializer}
        originals = {node.name: node for node in self.floats.graph.node}
        users: dict[str, list[NodeProto]] = {}
        for node in self.model.graph.node:
            original = originals.get(node.name)
            if original is not None and node.op_type in KERNELS and original.input[1] in found:
                users.setdefault(original.input[1], []).append(node)
                if len(original.input) > 2 and original.input[2] in initial:  # the bias
                    self._biases[node.name] = numpy_helper.to_array(initial[original.input[2]])
        for name, nodes in users.items():
            self._weight(found[name], nodes)

    def _weight(self, recovered: Recovered, nodes: list[NodeProto]) -> None:
        scale = self._usable(recovered, nodes)
        done = set()
        for node in nodes:
            unscaled = self._dequantized(node, 1)
            if unscaled is None or unscaled.input[0] in done:
                continue
            done.add(unscaled.input[0])
            axis = _outputs(recovered)[0] if recovered.scale.size > 1 else KERNELS[node.op_type] % recovered.codes.ndim
            self._store(unscaled.input[0], recovered.codes)
            self._store(unscaled.input[1], scale)
            self._store(unscaled.input[2], np.zeros(scale.shape, np.int8))
            del unscaled.attribute[:]
            unscaled.attribute.append(helper.make_attribute("axis", axis))
            self.packing.whole(unscaled.input[0], recovered)
        for node in nodes:
            self._bias(node, scale)

    def _usable(self, recovered: Recovered, nodes: list[NodeProto]) -> Array:
        """The scales; where there are no weights, such that the bias can be told in units of them."""
        scale = recovered.scale.ravel().astype(np.float32)
        least = np.full_like(scale, np.finfo(np.float32).eps)
        for node in nodes:
            bias, step = self._biases.get(node.name), self._step(node)
            if bias is not None and step is not None:
                least = np.maximum(least, np.abs(bias.ravel()) / step / _LARGEST_BIAS)
        usable: Array = np.where(scale == 0, least, scale).astype(np.float32)
        return usable

    def _bias(self, node: NodeProto, scale: Array) -> None:
        """The bias in units of the scale of the input times that of the weight; floats where that is too fine."""
        bias, step = self._biases.get(node.name), self._step(node)
        unscaled = self._dequantized(node, 2)
        if bias is None or step is None or unscaled is None:
            return
        units = (scale * step).astype(np.float32)
        counted = np.round(bias.ravel().astype(np.float64) / units)
        if np.abs(counted).max(initial=0) > _LARGEST_BIAS:
            node.input[2] = self.packing.constant(f"{node.name}/bias", bias)
            return
        self._store(unscaled.input[0], counted.astype(np.int32))
        self._store(unscaled.input[1], units)
        self._store(unscaled.input[2], np.zeros(units.shape, np.int32))
        del unscaled.attribute[:]
        unscaled.attribute.append(helper.make_attribute("axis", 0))

    def _step(self, node: NodeProto) -> float | None:
        """The scale of what flows into a node."""
        unscaled = self._dequantized(node, 0)
        return None if unscaled is None else float(self._values[unscaled.input[1]].ravel()[0])

    def _dequantized(self, node: NodeProto, position: int) -> NodeProto | None:
        """The node that turns whole numbers into that input; there is none where the input is in floats."""
        maker = self._makers.get(node.input[position]) if len(node.input) > position else None
        return maker if maker is not None and maker.op_type == "DequantizeLinear" else None

    def _store(self, name: str, value: Array) -> None:
        tensor = next(one for one in self.model.graph.initializer if one.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))


def without_last_step(model: onnx.ModelProto) -> None:
    """Let outputs that a Gemm or MatMul gives be the floats that it computes, not rounded to eight bits."""
    makers = {output: node for node in model.graph.node for output in node.output}
    readers = [name for node in model.graph.node for name in node.input]
    for back, forth in _pairs(model, makers):
        node = makers.get(forth.input[0])
        if node is None or node.op_type not in ("Gemm", "MatMul"):
            continue
        if readers.count(forth.input[0]) == readers.count(forth.output[0]) == 1:
            node.output[0] = back.output[0]
            model.graph.node.remove(back)
            model.graph.node.remove(forth)


def _pairs(model: onnx.ModelProto, makers: Mapping[str, NodeProto]) -> Iterator[tuple[NodeProto, NodeProto]]:
    for entry in model.graph.output:
        back = makers.get(entry.name)
        forth = makers.get(back.input[0]) if back is not None and back.op_type == "DequantizeLinear" else None
        if back is not None and forth is not None and forth.op_type == "QuantizeLinear":
            yield back, forth

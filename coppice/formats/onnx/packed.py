"""Constants of few bits in an ONNX graph: kept packed, and unpacked by operators that every runtime has.

    8 bits    int8 -> Cast -> Mul(scale)
    4, 2, 1   uint8 -> BitShift left and right, which leaves one number of a byte -> Cast -> grid -> Mul(scale)

ONNX Runtime computes what depends on constants alone when it loads a file, so that none of this is left when it runs.
DequantizeLinear would say the same, but that it keeps to the run (measured: 1.3 to 12 times slower).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from coppice.formats.onnx.quantized_grids import Recovered
from coppice.quant import GRIDS
from coppice.quant.packing import pack


@dataclass(slots=True)
class Packing:
    """Replaces constants of a model by packed ones, in place; what unpacks them comes before all nodes."""

    model: onnx.ModelProto
    _nodes: list[NodeProto] = field(default_factory=list)
    _shared: dict[str, str] = field(default_factory=dict)

    def floats(self, name: str, recovered: Recovered, shape: Sequence[int]) -> None:
        """The constant `name` as its codes times its scales, in float32 from loading on."""
        codes = self._codes(name, recovered, TensorProto.FLOAT)
        scale = self.constant(f"{name}/scale", recovered.scale)
        if tuple(recovered.codes.shape) == tuple(shape):
            self._make("Mul", [codes, scale], name)
        else:
            scaled = self._make("Mul", [codes, scale])
            self._make("Reshape", [scaled, self._once("shape", np.array(shape, np.int64))], name)
        self._remove(name)

    def whole(self, name: str, recovered: Recovered) -> None:
        """The int8 constant `name`, in int8 from loading on, so that integer kernels read it."""
        if recovered.bits < 8:  # bits of int8
            self._codes(name, recovered, TensorProto.INT8)
            self._remove(name)

    def halves(self, name: str) -> None:
        """The constant `name` in half precision, in single precision from loading on."""
        values = numpy_helper.to_array(self._tensor(name)).astype(np.float16)
        self._make("Cast", [self.constant(f"{name}/float16", values)], name, to=TensorProto.FLOAT)
        self._remove(name)

    def finish(self) -> None:
        """Put the nodes where everything after them can read what they make."""
        nodes = [*self._nodes, *self.model.graph.node]
        del self.model.graph.node[:]
        self.model.graph.node.extend(nodes)
        self._nodes = []

    def _codes(self, name: str, recovered: Recovered, to: int) -> str:
        """The codes as a tensor of the type `to`."""
        codes = recovered.codes
        if recovered.bits == 8:  # nothing to unpack
            stored = self.constant(f"{name}/int8", codes)
            return self._make("Cast", [stored], to=to)
        grid = GRIDS[recovered.bits]
        number_type, dtype = (to, np.float32) if to == TensorProto.FLOAT else (TensorProto.INT32, np.int32)
        numbers = self._make("Cast", [self._numbers(name, recovered)], to=number_type)
        if grid.step != 1:
            step = self._once("step", np.array(grid.step, dtype))
            numbers = self._make("Mul", [numbers, step])
        lowest = self._once("largest", np.array(grid.largest, dtype))
        if to == TensorProto.FLOAT:
            return self._make("Sub", [numbers, lowest])
        return self._make("Cast", [self._make("Sub", [numbers, lowest])], name, to=to)

    def _numbers(self, name: str, recovered: Recovered) -> str:
        """What was packed, a number to an element: shifted left what lies above it goes, then right what lies below."""
        bits, codes = recovered.bits, recovered.codes
        each = 8 // bits
        stored = self.constant(f"{name}/packed{bits}", pack(codes, bits).reshape(-1, 1))
        left = self._once("left", np.array([8 - bits * (place + 1) for place in range(each)], np.uint8))
        right = self._once("right", np.array([8 - bits], np.uint8))
        above = self._make("BitShift", [stored, left], direction="LEFT")
        flat = self._make("BitShift", [above, right], direction="RIGHT")
        if codes.size % each:
            line = self._make("Reshape", [flat, self._once("flat", np.array([-1], np.int64))])
            ends = [self._once(kind, np.array([value], np.int64)) for kind, value in (("from", 0), ("to", codes.size))]
            flat = self._make("Slice", [line, *ends])
        shape = self._once("shape", np.array(codes.shape, np.int64))
        return self._make("Reshape", [flat, shape])

    def _make(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """A node, without a name: what unpacks a small weight should not be larger than it."""
        output = output or f"unpacked/{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def _once(self, kind: str, value: NDArray[Any]) -> str:
        """A small constant that all that is unpacked share."""
        key = f"unpack/{kind}/{value.dtype}/{'x'.join(str(number) for number in value.ravel())}"
        if key not in self._shared:
            self._shared[key] = self.constant(key, value)
        return key

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A new constant under that name."""
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _tensor(self, name: str) -> TensorProto:
        found: TensorProto = next(one for one in self.model.graph.initializer if one.name == name)
        return found

    def _remove(self, name: str) -> None:
        self.model.graph.initializer.remove(self._tensor(name))
        # Files of before IR version 4 list their constants as inputs, too.
        for entry in [one for one in self.model.graph.input if one.name == name]:
            self.model.graph.input.remove(entry)

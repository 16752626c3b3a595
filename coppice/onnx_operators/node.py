"""One ONNX node as a torch module: its attributes, its constants, and the row that says what it computes."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coppice.onnx_operators.element_types import DOUBLE, TYPES
from coppice.onnx_operators.evaluated import Evaluate, NotComputed, enter, evaluated
from coppice.onnx_operators.graph import GraphNode
from coppice.onnx_operators.table import ON_NUMBERS, Row

#: Operators of quantized networks.
_WHOLE = re.compile(r"QLinear|QGemm|QAttention|Integer|DynamicQuantize|NBits")

#: A number, or a list of them, that flows through the graph beside the tensors.
Numbers = int | float | bool | list[Any]


@dataclass(frozen=True, slots=True)
class Tensors:
    """A sequence of tensors, which is no value of numbers."""

    items: tuple[Tensor, ...]


class OnnxNode(nn.Module):
    """A node of the graph; its constants are its parameters, its buffers, or plain numbers.

    Sizes are plain integers, in `attributes` and in `numbers` (input position -> value): the tracer follows them
    there, and the plan says what they must become.
    """

    floating: Tensor

    def __init__(
        self,
        *,
        node: GraphNode,
        row: Row | None,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[int, Numbers],
        free: tuple[str, ...],
        evaluate: Evaluate,
    ) -> None:
        """Without a row, or where the row gives up, `evaluate` computes.

        `tensors` are the node's constants by their names; `free` names the values that each run is given: those of
        the inputs, then what bodies take by themselves.
        """
        super().__init__()
        self.layer_name = node.name
        self.class_name = node.operator
        self.row = row
        self.version = node.version
        self.origin = node.origin
        self.attributes: dict[str, Any] = copy.deepcopy(dict(node.attributes)) if row is not None else {}
        self.numbers: dict[int, Numbers] = dict(numbers)
        self.given = tuple(bool(name) for name in node.inputs)
        self.wanted = len(node.outputs)
        #: Which outputs anybody asked for.
        self.asked = tuple(bool(name) for name in node.outputs)
        #: Input position -> name of the tensor that this node holds for it.
        self.held: dict[int, str] = {}
        #: What attributes and shape inputs must state for the tensors of the last run, where the tensors decide it.
        self.stated: dict[str | int, Any] = {}
        #: Whether the last run was one of plain numbers, and its result: no layer that a user would look for.
        self.made_numbers = False
        #: A number that must stay what it was with the whole model, though it is computed from sizes.
        self.remembered: Any = None
        if row is not None and row.makes_floats:
            self.register_buffer("floating", torch.zeros(()), persistent=False)
        for value, tensor in tensors.items():
            places = [place for place, given in enumerate(node.inputs) if given == value and place not in numbers]
            name = f"input_{places[0]}" if places else f"captured_{len(self._parameters) + len(self._buffers)}"
            self.held |= dict.fromkeys(places, name)
            if tensor.is_floating_point():
                self.register_parameter(name, tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)
        self.free = free
        self._number = enter(free, evaluate)

    def called(self) -> str:
        """Operator, name and origin, for reasons."""
        return f"{self.class_name} at node {self.layer_name!r}{self._from()}"

    def _from(self) -> str:
        return f" ({self.origin})" if self.origin else ""

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, or what the operator's specification gives for one that is left out."""
        found = self.attributes.get(name)
        return default if found is None else found

    def option(self, name: str, given: Any, default: Any = None) -> Any:
        """What later versions take as an input and earlier ones as an attribute."""
        return self.attribute(name, default) if given is None else given

    def type_of(self, number: int) -> torch.dtype:
        """The torch type of an ONNX type number; single precision is the type in which the network computes."""
        found = TYPES[number]
        return self.floating.dtype if found is torch.float32 and number != DOUBLE else found

    def forward(self, *free: Any) -> Any:
        """Compute the outputs from the inputs that are not constants, in order: one value, or a tuple."""
        self.made_numbers = False
        if self.row is None:
            why = (
                "computes in whole numbers: prune before you quantize"
                if _WHOLE.search(self.class_name)
                else "has no rule"
            )
            return self._evaluated(free, f"node {self.layer_name!r} is a {self.class_name}, which {why}")
        values = self._inputs(free)
        numeric = ON_NUMBERS.get(self.class_name)
        if numeric is not None and not any(isinstance(value, Tensor | Tensors) for value in values):
            outputs = numeric.call(self, *values)
            if outputs is not NotImplemented:
                self.made_numbers = True
                return outputs
        device = next((value.device for value in values if isinstance(value, Tensor)), None)
        arguments = [
            as_numbers(value) if position in self.row.numbers else as_tensor(value, device)
            for position, value in enumerate(values)
        ]
        try:
            outputs = self.row.call(self, *arguments)
        except NotComputed as e:
            return self._evaluated(free, f"node {self.layer_name!r} ({self.class_name}) {e}")
        self.made_numbers = not isinstance(outputs, Tensor | tuple)
        if isinstance(outputs, Tensor) and outputs.requires_grad and not torch.is_grad_enabled():
            return outputs.detach()  # a parameter passed on: torch's own hooks take what comes out for a result
        return outputs

    def _evaluated(self, free: Sequence[Any], reason: str) -> Any:
        held = [*self.parameters(), *self.buffers()]
        results = tuple(evaluated([as_tensor(value) for value in free], held, self._number, reason + self._from()))
        return results[0] if self.wanted == 1 else results

    def _inputs(self, free: Sequence[Any]) -> list[Any]:
        rest = iter(free)
        values: list[Any] = []
        for position, given in enumerate(self.given):
            if not given:
                values.append(None)
            elif position in self.numbers:
                values.append(self.numbers[position])
            elif position in self.held:
                values.append(getattr(self, self.held[position]))
            else:
                values.append(next(rest))
        return values

    def extra_repr(self) -> str:
        """The operator, for printing."""
        return self.class_name


def as_numbers(value: Any) -> Any:
    """Plain numbers of a tensor that states sizes."""
    return value.tolist() if isinstance(value, Tensor) else value


def as_tensor(value: Any, device: torch.device | None = None) -> Any:
    """The tensor of plain numbers; whole numbers are 64 bits wide, as ONNX's sizes are."""
    if value is None or isinstance(value, Tensor | Tensors):
        return value
    if isinstance(value, list) and not value:
        return torch.zeros(0, dtype=torch.int64, device=device)
    return torch.tensor(value, device=device)

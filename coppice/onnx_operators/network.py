"""An ONNX graph as a torch module: its nodes as submodules, its wiring as the forward."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from coppice.onnx_operators.evaluated import Evaluate
from coppice.onnx_operators.graph import Array, Graph, GraphNode
from coppice.onnx_operators.node import Numbers, OnnxNode, as_tensor
from coppice.onnx_operators.table import OPERATORS, Row

#: A constant list of whole numbers up to this length may state sizes; a longer one is data.
MOST_SIZES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    module: str
    free: tuple[str, ...]  # values that are not constants of the node
    outputs: tuple[str, ...]
    done: tuple[str, ...]  # values that nothing after it needs


class OnnxNetwork(nn.Module):
    """A graph that runs: `module(*inputs)` gives one tensor, or a list where the graph has several outputs."""

    def __init__(self, graph: Graph, modules: Mapping[str, OnnxNode], constants: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.graph = graph
        #: Node's place in the graph -> name of its submodule.
        self.submodule_names: tuple[str, ...] = tuple(modules)
        for name, module in modules.items():
            self.add_module(name, module)
        #: Outputs of the graph that are constants of the file.
        self._constant_outputs = dict(constants)
        self._calls = tuple(self._wired())

    def node(self, place: int) -> OnnxNode:
        """The submodule of the node at that place of the graph."""
        return cast(OnnxNode, self.get_submodule(self.submodule_names[place]))

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs in the graph's order."""
        declared = (entry.name for entry in self.graph.inputs)
        values: dict[str, Any] = {**self._constant_outputs, **dict(zip(declared, inputs, strict=True))}
        for call in self._calls:
            results = self.get_submodule(call.module)(*(values[name] for name in call.free))
            # Outputs that nobody asked for may be missing.
            values |= zip(call.outputs, results if isinstance(results, tuple) else (results,), strict=False)
            for name in call.done:
                values.pop(name, None)
        outputs = [as_tensor(values[name]) for name in self.graph.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def _wired(self) -> Iterator[_Call]:
        nodes = self.graph.nodes
        last = {name: place for place, node in enumerate(nodes) for name in (*node.inputs, *node.captured) if name}
        for place, node in enumerate(nodes):
            free = self.node(place).free
            ends = [name for name in free if last[name] == place] + [name for name in node.outputs if name not in last]
            yield _Call(
                module=self.submodule_names[place],
                free=free,
                outputs=node.outputs,
                done=tuple(dict.fromkeys(name for name in ends if name not in self.graph.outputs)),
            )


def build(graph: Graph, evaluated: Callable[[GraphNode], Evaluate]) -> OnnxNetwork:
    """The network of a graph; `evaluated` gives what computes a node that no row does."""
    return _Builder(evaluated).network(graph).eval()


class BranchNode(OnnxNode):
    """An If. Where sizes decide, the branch that is taken runs as part of the graph; where data do, all stays."""

    def __init__(self, branches: Mapping[str, OnnxNetwork], **node: Any) -> None:
        super().__init__(**node)
        self.branches = nn.ModuleDict(branches)

    def forward(self, *free: Any) -> Any:
        """The outputs of one branch."""
        values = dict(zip(self.free, free, strict=True))
        decided = self.numbers[0] if 0 in self.numbers else free[0]
        if isinstance(decided, Tensor):
            return self._evaluated(free, f"node {self.layer_name!r} is an If that data decide")
        taken = decided[0] if isinstance(decided, list) else decided
        branch, other = (self.branch(name) for name in sorted(self.branches, reverse=bool(taken)))
        if 0 not in self.numbers and any(weight.numel() > 1 for weight in other.parameters()):
            # It may be taken another time, and its weights fit the whole model.
            return self._evaluated(free, f"node {self.layer_name!r} is an If whose other branch has weights of its own")
        results = branch(*(values[entry.name] for entry in branch.graph.inputs))
        return tuple(results) if isinstance(results, list) else results

    def branch(self, name: str) -> OnnxNetwork:
        """The network of a branch, by its attribute's name."""
        return cast(OnnxNetwork, self.branches[name])


class _Builder:
    """What the graph and the branches in it are built from."""

    def __init__(self, evaluated: Callable[[GraphNode], Evaluate]) -> None:
        self._evaluated = evaluated
        self._tensors = _Tensors()

    def network(self, graph: Graph) -> OnnxNetwork:
        modules: dict[str, OnnxNode] = {}
        for node in graph.nodes:
            modules[_free_name(node.name, modules)] = self._module(node, graph)
        outputs = {
            name: self._tensors.of(name, graph.constants[name]) for name in graph.outputs if name in graph.constants
        }
        return OnnxNetwork(graph, modules, outputs)

    def _module(self, node: GraphNode, graph: Graph) -> OnnxNode:
        row, constants = OPERATORS.get(node.operator), graph.constants
        numbers = dict(_numbers(node, row, constants))
        read = [name for position, name in enumerate(node.inputs) if position not in numbers]
        held = (name for name in (*read, *(() if node.branches else node.captured)) if name in constants)
        known: dict[str, Any] = {
            "node": node,
            "row": row,
            "tensors": {name: self._tensors.of(name, constants[name]) for name in held},
            "numbers": numbers,
            "free": tuple(name for name in (*read, *node.captured) if name and name not in constants),
            "evaluate": self._evaluated(node),
        }
        if not node.branches:
            return OnnxNode(**known)
        return BranchNode({name: self.network(branch) for name, branch in node.branches.items()}, **known)


class _Tensors:
    """The constants as tensors. Matrices that several nodes read are one tensor; each has a vector of its own.

    Exporters store equal vectors once (the zeros of fresh biases, the ones of fresh norms), which would tie layers
    that have nothing to do with each other. A matrix that is there once is shared by its user's own will.
    """

    def __init__(self) -> None:
        self._made: dict[str, Tensor] = {}

    def of(self, name: str, array: Array) -> Tensor:
        """The tensor of a constant; half precision is computed in single."""
        if name in self._made:
            return self._made[name]
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        if array.ndim <= 1:
            return tensor.clone()
        made: Tensor = nn.Parameter(tensor) if tensor.is_floating_point() else tensor
        self._made[name] = made
        return made


def _numbers(node: GraphNode, row: Row | None, constants: Mapping[str, Array]) -> Iterator[tuple[int, Numbers]]:
    for position, name in enumerate(node.inputs):
        array = constants.get(name)
        if "arranged" in node.attributes and position == 1:
            yield position, 0  # the attribute says it
            continue
        if array is None or array.ndim > 1:
            continue
        if row is None:  # what evaluates the node has its constants; those without channels are of no interest here
            if array.size == 1:
                yield position, array.tolist()
            continue
        may_be_sizes = array.dtype.kind in "iu" and array.size <= MOST_SIZES and not row.whole_values
        states_sizes = position in row.numbers or may_be_sizes
        is_scalar = row.scalars and array.size == 1 and array.dtype.kind in "fb" and array.dtype.itemsize < 8
        if states_sizes or is_scalar:
            yield position, array.tolist()


def _free_name(name: str, taken: Collection[str]) -> str:
    """A name for a submodule: no dots, none that a module has already."""
    found = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "node"
    while found in taken or hasattr(OnnxNetwork, found) or found in ("graph", "submodule_names", "training"):
        found += "_"
    return found


__all__ = ["BranchNode", "OnnxNetwork", "build"]

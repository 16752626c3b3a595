"""An ONNX graph at rest as plain data: what a reader makes of a file, and what the interpreter is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One node; an input or output that is left out is the empty name, as in the file."""

    name: str
    operator: str  # with its domain in front, where it is not of the standard: com.microsoft.FusedMatMul
    version: int  # of the standard's operator set
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    #: The version of the operator's set, and the line of the user's code that an exporter noted, in words.
    origin: str = ""
    #: Values of the graph that the bodies of a Loop, Scan or If take without being given them.
    captured: tuple[str, ...] = ()
    #: The branches of an If, by attribute; their inputs are what they take, their constants those around them, too.
    branches: Mapping[str, Graph] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInput:
    """What the graph declares of an input: a size is a number, the name of a free axis, or unknown."""

    name: str
    element_type: int  # ONNX's number of a type
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes in an order that can be run, and the constants: initializers and the values of Constant nodes."""

    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[GraphNode, ...]
    constants: Mapping[str, Array]

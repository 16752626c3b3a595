"""Inputs to run a graph with: as the user says, else from the shapes that the graph declares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from coppice.errors import InputSizeInvalid, UnsupportedLayer
from coppice.formats.dataset import Takes
from coppice.onnx_operators import Graph, GraphInput
from coppice.onnx_operators.element_types import TYPES
from coppice.records.inputs import MAX_INPUT_ELEMENTS, Input, sizes

#: Two samples: enough to see what mixes samples.
SAMPLES = 2
#: Sizes for free axes. Small ones first; a network that shrinks its images a lot needs a larger one.
FREE_SIZES = (32, 64, 128, 224, 8, 320)
#: Operators that pass a whole number on as it is.
_PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})


def example_inputs(graph: Graph, asked: Sequence[Input] | None, *, seed: int, free: int) -> tuple[Tensor, ...]:
    """One random batch per input; `free` fills the axes that neither the graph nor the user gives a size."""
    if asked is not None and len(asked) != len(graph.inputs):
        names = ", ".join(entry.name for entry in graph.inputs)
        raise InputSizeInvalid(
            f"input_size gives {len(asked)} inputs and the model takes {len(graph.inputs)}: {names}. Separate them by "
            "semicolons, or leave input_size out.",
            field="input_size",
        )
    generator = torch.Generator().manual_seed(seed)
    given = {entry.name: entry for entry in asked or () if entry.name}
    inputs = []
    for place, entry in enumerate(graph.inputs):
        wish = given.get(entry.name) or (asked[place] if asked else None)
        shape = _asked_shape(entry, wish) if wish is not None else _shape(entry, free)
        if math.prod(shape) > MAX_INPUT_ELEMENTS:
            raise InputSizeInvalid(
                f"the input {entry.name!r} of {sizes(shape)} is {math.prod(shape):,} numbers; the limit is "
                f"{MAX_INPUT_ELEMENTS:,}. Give a smaller input_size.",
                field="input_size",
            )
        inputs.append(_drawn(graph, entry, shape, wish, generator))
    return tuple(inputs)


def taken_inputs(graph: Graph) -> list[Takes]:
    """What the graph declares of one sample of each input, for those who bring samples along."""
    return [
        Takes(
            name=entry.name,
            shape=None
            if entry.shape is None
            else tuple(size if isinstance(size, int) and size > 0 else None for size in entry.shape[1:]),
            dtype=_dtype(entry),
        )
        for entry in graph.inputs
    ]


def _shape(entry: GraphInput, free: int) -> tuple[int, ...]:
    if entry.shape is None:
        raise InputSizeInvalid(
            f"the model doesn't say what shape its input {entry.name!r} has. Give input_size.", field="input_size"
        )
    return tuple(
        size if isinstance(size, int) and size > 0 else SAMPLES if axis == 0 else free
        for axis, size in enumerate(entry.shape)
    )


def _asked_shape(entry: GraphInput, wish: Input) -> tuple[int, ...]:
    """The shape that the user gives, behind the batch that the graph declares, if it has one."""
    declared = entry.shape
    if declared is not None and len(declared) == len(wish.shape):
        whole = tuple(wish.shape)  # with the batch, or for an input that has none
    else:
        batch = declared[0] if declared else None
        whole = (batch if isinstance(batch, int) and batch > 0 else SAMPLES, *wish.shape)
    clash = declared is not None and (
        len(declared) != len(whole)
        or any(isinstance(want, int) and 0 < want != size for want, size in zip(declared, whole, strict=True))
    )
    if clash:
        shown = ",".join("?" if not isinstance(size, int) else str(size) for size in declared or ())
        raise InputSizeInvalid(
            f"input_size gives {sizes(wish.shape)} for the input {entry.name!r}, which the model declares as {shown} "
            "with the batch in front.",
            field="input_size",
        )
    return whole


def _drawn(
    graph: Graph, entry: GraphInput, shape: tuple[int, ...], wish: Input | None, generator: torch.Generator
) -> Tensor:
    dtype = _dtype(entry)
    if dtype.is_floating_point:
        return torch.rand(shape, generator=generator, dtype=dtype)
    if dtype is torch.bool:
        return torch.ones(shape, dtype=dtype)
    rows = wish.below if wish is not None and wish.below else min(_vocabularies(graph, entry.name), default=None)
    if rows is None:
        return torch.ones(shape, dtype=dtype)  # masks and lengths: nothing is masked
    return torch.randint(0, rows, shape, generator=generator).to(dtype)


def _dtype(entry: GraphInput) -> torch.dtype:
    if entry.element_type not in TYPES:
        raise UnsupportedLayer(f"the input {entry.name!r} is of a type that Coppice can't compute.", field=entry.name)
    return TYPES[entry.element_type]


def _vocabularies(graph: Graph, name: str) -> Iterator[int]:
    """How many rows the tables have that the value is looked up in."""
    for node in graph.nodes:
        if node.operator == "Gather" and node.inputs[1] == name and node.inputs[0] in graph.constants:
            yield graph.constants[node.inputs[0]].shape[node.attributes.get("axis", 0)]
        elif node.operator in _PASSING and node.inputs[0] == name:
            yield from _vocabularies(graph, node.outputs[0])

"""Inputs to run a model with, made from the shapes that its configuration declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from coppice.errors import InputSizeInvalid, ModelInvalid
from coppice.keras_layers.configuration import (
    Entry,
    class_name,
    declared_shape,
    is_model,
    layer_entries,
    named_entries,
    plain,
)
from coppice.keras_layers.graph import Ref
from coppice.keras_layers.layer import KerasLayer
from coppice.keras_layers.network import KerasNetwork
from coppice.keras_layers.tree import leaves
from coppice.records.inputs import MAX_INPUT_ELEMENTS

#: Two samples: enough to see what mixes samples.
_BATCH = 2
#: Sizes for open axes. Small ones first; a network that shrinks its images a lot needs a larger one.
OPEN_SIZES = (64, 128, 224, 320)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredInput:
    """What the configuration says of one input."""

    name: str
    layer: str
    #: Of one sample, None for what is open; None where nothing is said.
    shape: tuple[int | None, ...] | None
    dtype: torch.dtype
    #: How many whole numbers there are to draw from; None for fractions.
    indices: int | None


def declared_inputs(network: KerasNetwork) -> tuple[DeclaredInput, ...]:
    """The inputs of a model in their order."""
    return tuple(
        _declared_input(network, ref, name)
        for ref, name in zip(network.graph.inputs, network.graph.input_names, strict=True)
    )


def _declared_input(network: KerasNetwork, ref: Ref, name: str) -> DeclaredInput:
    floating = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    indices = min(_vocabularies(network, ref), default=_few_if_whole(network, ref))
    shape = _declared(network, ref)
    return DeclaredInput(
        name=name,
        layer=ref.layer,
        shape=None if shape is None or len(shape) < 2 else tuple(shape[1:]),
        dtype=floating if indices is None else torch.int64,
        indices=indices,
    )


def example_inputs(network: KerasNetwork, *, seed: int, open_size: int) -> tuple[Tensor, ...]:
    """One random batch per input, in the order of the model's inputs; `open_size` fills axes declared as None."""
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for entry in declared_inputs(network):
        if entry.shape is None:
            raise ModelInvalid(
                f"the model doesn't say what shape its input {entry.layer!r} has. Build it with an input shape "
                "(Input(shape=...) as the first layer) and save it again."
            )
        shape = [open_size if size is None else size for size in entry.shape]
        if any(size < 1 for size in shape) or _BATCH * math.prod(shape) > MAX_INPUT_ELEMENTS:
            raise InputSizeInvalid(
                f"the model declares an input of shape {shape}: {_BATCH * math.prod(shape):,} numbers; the limit is "
                f"{MAX_INPUT_ELEMENTS:,}.",
                field=entry.layer,
            )
        if entry.indices is None:
            inputs.append(torch.rand((_BATCH, *shape), generator=generator, dtype=entry.dtype))
        else:
            inputs.append(torch.randint(0, entry.indices, (_BATCH, *shape), generator=generator))
    return tuple(inputs)


def _few_if_whole(network: KerasNetwork, ref: Ref) -> int | None:
    """How many numbers to draw from for an input of whole numbers that no embedding looks up: 0 and 1 suit all."""
    entry = dict(named_entries(network.entry)).get(ref.layer)
    kind = entry["config"].get("dtype") if entry is not None else None
    return 2 if isinstance(kind, str) and kind.startswith(("int", "uint", "bool")) else None


def _declared(network: KerasNetwork, ref: Ref) -> list[int | None] | None:
    entry = dict(named_entries(network.entry)).get(ref.layer)
    return _shape_of(entry) if entry is not None else _first_shape(network.entry)


def _first_shape(model: Entry) -> list[int | None] | None:
    """A Sequential's input shape: of its first layer, or of that layer's own first, or as it was built with."""
    entries = layer_entries(model)
    found = _shape_of(entries[0]) if entries else None
    if found is None and isinstance(model["config"], dict):
        found = plain(model["config"].get("build_input_shape"))
    return found if isinstance(found, list) else None


def _shape_of(entry: Entry) -> list[int | None] | None:
    shape = declared_shape(entry)
    if shape is not None:
        return shape
    if is_model(entry):
        return _first_shape(entry)
    built = entry.get("build_config")
    stated = plain(built.get("input_shape")) if isinstance(built, dict) else None
    return stated if isinstance(stated, list) and class_name(entry) != "InputLayer" else None


#: Layers after which an index is still that index.
_KEEP_INDICES = frozenset({"Flatten", "GetItem", "InputLayer", "Permute", "RepeatVector", "Reshape", "SlicingOpLambda"})


def _vocabularies(network: KerasNetwork, ref: Ref) -> Iterator[int]:
    """How many rows the embeddings have that look the tensor up."""
    for call in network.graph.calls:
        given = leaves([call.arguments, call.named], Ref)
        if ref not in given:
            continue
        layer = network.layer(call.layer)
        yield from _rows(layer, given.index(ref))
        if isinstance(layer, KerasLayer) and layer.class_name in _KEEP_INDICES:
            yield from _vocabularies(network, Ref(call.layer, call.node, 0))


def _rows(layer: nn.Module, position: int) -> Iterator[int]:
    """The rows that a layer, or one inside it, has to offer to its input at that position."""
    if isinstance(layer, KerasNetwork):
        for inner in layer.graph.inputs[position : position + 1]:
            yield from _vocabularies(layer, inner)
    elif isinstance(layer, KerasLayer) and layer.class_name in _ROWS:
        yield _ROWS[layer.class_name](layer)
    elif isinstance(layer, KerasLayer):
        for part in layer.children():
            yield from _rows(part, position)


_ROWS: dict[str, Callable[[KerasLayer], int]] = {
    "Embedding": lambda layer: layer.array("embeddings").shape[0],
    "CategoryEncoding": lambda layer: int(layer.config.get("num_tokens") or layer.config.get("max_tokens") or 2),
}

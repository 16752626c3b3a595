"""A zip of a SavedModel folder: what `model.save("folder")` of TensorFlow 2.0 to 2.15 writes, read and edited.

No TensorFlow: the folder is protocol buffers, Keras' JSON and a table of arrays. Writing edits a copy, so that the
version that wrote the folder, and every later one that reads it, opens the result: with Keras, with its signatures,
and for conversion. Reading gives the same `KerasFile` as every other Keras format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coppice.errors import TruncatedFile, UnsupportedLayer
from coppice.formats.keras.file import Array, KerasFile, LayerPath, StoredArray, StoredLayer
from coppice.formats.saved_model import graph as saved_model_graph
from coppice.formats.saved_model.bundle import set_shape
from coppice.formats.saved_model.constants import CantEdit
from coppice.formats.saved_model.metadata import edited_record
from coppice.formats.saved_model.objects import METADATA, MODEL, ROOT, SavedObjects, read_objects
from coppice.formats.saved_model.owners import Owners, rename_twins
from coppice.formats.saved_model.protos import Message
from coppice.formats.saved_model.protos import write as to_bytes
from coppice.formats.saved_model.resized import resized
from coppice.formats.saved_model.sizes import Shape, Sizes
from coppice.formats.zip_guard import Archive, open_zip
from coppice.keras_layers import Dialect
from coppice.keras_layers.configuration import Entry, is_model

FINGERPRINT = "fingerprint.pb"  # a hash of saved_model.pb, from TensorFlow 2.11 on; loaders do without

OPTIMIZER_RESET = (
    "The optimizer's state was reset, because its arrays have the old sizes; the compiled optimizer and its settings "
    "are kept. Keras starts the optimizer of a loaded SavedModel afresh in any case."
)


def read(path: Path, name: str) -> KerasFile:
    """Read the model; `name` is what the user called the file."""
    with open_zip(path, name=name) as archive:
        try:
            return keras_file(open_objects(archive))
        except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as e:
            reason = f"its objects refer to what is not there ({type(e).__name__}: {e})"
            raise TruncatedFile(f"{name} is damaged: {reason}. Save and zip the model again.") from e


def write(original: Path, edited: KerasFile, out: Path, name: str) -> tuple[str, ...]:
    """Write a copy of the archive with the edited model; raises CantEdit, and then writes nothing."""
    with open_zip(original, name=name) as archive:
        folder = archive.folder_of(MODEL)
        saved = open_objects(archive)
        files, notes = edited_files(saved, edited)
        replaced = {f"{folder}{file}": content for file, content in files.items()}
        archive.rewrite(out, replaced=replaced, dropped=frozenset({f"{folder}{FINGERPRINT}"}))
        return notes


def keras_file(saved: SavedObjects) -> KerasFile:
    """The model that the folder holds; raises UnsupportedLayer for one whose wiring is Python code."""
    record = saved.root.metadata
    config = {"class_name": record["class_name"], "config": record.get("config") or {}}
    if not is_model(config):
        raise UnsupportedLayer(
            f"{saved.name}: the model is a {record['class_name']} whose wiring is Python code that the file doesn't "
            "hold. Build it as a Sequential or functional model and save it again."
        )
    layers = tuple(
        StoredLayer(
            path=layer.path,
            arrays=tuple(
                StoredArray(name=f"{variable.name}:0", value=saved.bundle.array(variable.key))
                for variable in layer.variables
            ),
        )
        for layer in saved.layers
        if layer.lists_variables
    )
    dialect = Dialect(keras_version=str(record.get("keras_version", "2")), backend=str(record.get("backend")))
    return KerasFile(config=config, layers=layers, dialect=dialect)


def edited_files(saved: SavedObjects, edited: KerasFile) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The folder's files that differ once it holds the edited model, and notes; raises CantEdit."""
    original = keras_file(saved)
    sizes = resized(saved, original, edited)
    model = _copy(saved.model)
    keras = None if saved.keras is None else _copy(saved.keras)
    graph = model.meta_graphs[0]
    root = (dict(original.config), dict(edited.config))
    _edit_records(saved, graph.object_graph_def.nodes, keras, root, sizes)
    arrays = _edited_arrays(saved, edited)
    slots = dict(_reset_slots(saved, arrays))
    changed = {**arrays, **slots}
    _edit_variables(saved, graph, changed)
    owners = Owners(sizes, str(saved.root.metadata["name"]), graph.graph_def.library)
    saved_model_graph.edit_functions(graph.graph_def, owners, set(graph.object_graph_def.concrete_functions))
    rename_twins(graph.graph_def.library, sizes)
    saved_model_graph.edit_specs(graph.object_graph_def.concrete_functions, owners)
    by_key = {saved.keys[node]: array for node, array in changed.items()}
    files = {MODEL: to_bytes(model), **saved.bundle.rewrite(by_key)}
    if keras is not None:
        files[METADATA] = to_bytes(keras)
    return files, (OPTIMIZER_RESET,) if slots else ()


def open_objects(archive: Archive) -> SavedObjects:
    """The objects of the SavedModel that the archive holds."""
    folder = archive.folder_of(MODEL)
    names = frozenset(name.removeprefix(folder) for name in archive.names if name.startswith(folder))
    return read_objects(archive.name, names, lambda file: archive.read(f"{folder}{file}"))


def _copy(message: Message) -> Message:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _edit_records(
    saved: SavedObjects, nodes: Any, keras: Message | None, root: tuple[Entry, Entry], sizes: Sizes
) -> None:
    """Put every layer's edited record back where its version of Keras keeps it."""
    holders = {number: nodes[number].user_object for number in range(len(nodes))}
    if keras is not None:
        holders = {one.node_id: one for one in keras.nodes}
    holders[ROOT].metadata = json.dumps(edited_record(saved.root.metadata, *root, ()))
    for layer in saved.layers:
        was, now = sizes[layer.path].was, sizes[layer.path].now
        inputs = list(zip(was.calls[0].inputs, now.calls[0].inputs, strict=True)) if was.calls else []
        holders[layer.node].metadata = json.dumps(edited_record(layer.metadata, was.entry, now.entry, inputs))
    told = {layer.node for layer in saved.layers} | {ROOT}
    for number, holder in holders.items():
        if number not in told and "_layer" in holder.identifier and holder.metadata:
            raise CantEdit(f"the layer {json.loads(holder.metadata).get('name')} is held by no layer of the model")


def placed_arrays(saved: SavedObjects, edited: KerasFile) -> Iterator[tuple[LayerPath, int, Array]]:
    """The layers' edited arrays and the nodes of their variables; what layers share comes with each."""
    stored = {layer.path: layer.arrays for layer in edited.layers}
    for layer in saved.layers:
        if layer.lists_variables:
            for variable, array in zip(layer.variables, stored[layer.path], strict=True):
                yield layer.path, variable.node, array.value


def _edited_arrays(saved: SavedObjects, edited: KerasFile) -> dict[int, Array]:
    """The nodes of the layers' variables with their edited arrays."""
    arrays: dict[int, Array] = {}
    for path, node, array in placed_arrays(saved, edited):
        if not np.array_equal(arrays.setdefault(node, array), array):
            name = saved.nodes[node].variable.name
            raise CantEdit(f"{'/'.join(path)} shares {name} with another layer, which was cut in another way")
    return arrays


def _shape(saved: SavedObjects, node: int) -> Shape:
    return tuple(dimension.size for dimension in saved.nodes[node].variable.shape.dim)


def _reset_slots(saved: SavedObjects, arrays: Mapping[int, Array]) -> Iterator[tuple[int, Array]]:
    """Zeros for the optimizer's slots of resized variables: its slots proper, and from 2.11 on variables of its own."""
    resized = {node: array.shape for node, array in arrays.items() if _shape(saved, node) != array.shape}
    names = {saved.nodes[node].variable.name: node for node in resized}
    for node in saved.nodes:
        for slot in node.slot_variables:
            if slot.original_variable_node_id in resized:
                yield slot.slot_variable_node_id, np.zeros(resized[slot.original_variable_node_id], np.float32)
    for number in set(saved.keys) - set(arrays):
        # "SGD/m/conv2d/kernel" follows "conv2d/kernel": the longest name that fits is the right one.
        own = saved.nodes[number].variable.name
        followed = max((name for name in names if own.endswith(f"/{name}")), key=len, default=None)
        if followed is not None and _shape(saved, number) == _shape(saved, names[followed]):
            yield number, np.zeros(resized[names[followed]], np.float32)


def _edit_variables(saved: SavedObjects, graph: Message, changed: Mapping[int, Array]) -> None:
    shapes = []
    for number, node in enumerate(graph.object_graph_def.nodes):
        if node.HasField("variable"):
            was = _shape(saved, number)
            now = tuple(changed[number].shape) if number in changed else was
            set_shape(node.variable.shape, now)
            shapes.append((node.variable.name, was, now))
    saved_model_graph.edit_handles(graph.graph_def, shapes)

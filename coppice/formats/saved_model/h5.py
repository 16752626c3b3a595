"""A SavedModel's model as an HDF5 file of the same Keras: what comes back where the graph can't be edited safely.

The file is what the user's own `model.save("model.h5")` writes, without the optimizer's state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from coppice.errors import UnsupportedLayer
from coppice.formats.keras.file import Array, KerasFile
from coppice.formats.saved_model.format import open_objects, placed_arrays
from coppice.formats.saved_model.objects import SavedObjects
from coppice.formats.zip_guard import open_zip
from coppice.keras_layers.configuration import is_wrapped, plain

#: A list of names that is longer is spread over several attributes: HDF5 keeps 64 KiB of them in an object's header.
MAX_ATTRIBUTE_BYTES = 64_512


def write(original: Path, edited: KerasFile, out: Path, name: str) -> None:
    """Write the edited model of a SavedModel archive into an HDF5 file."""
    with open_zip(original, name=name) as archive:
        saved = open_objects(archive)
    layers = list(_layers(saved, edited))
    with h5py.File(out, "w", libver=("earliest", "v110")) as file:
        weights = file.create_group("model_weights")
        for holder in (file, weights):
            _set_text(holder, "keras_version", edited.dialect.keras_version)
            _set_text(holder, "backend", edited.dialect.backend)
        _set_text(file, "model_config", json.dumps(unwrapped(edited.config)))
        if training := saved.root.metadata.get("training_config"):
            _set_text(file, "training_config", json.dumps(unwrapped(training)))
        _set_names(weights, "layer_names", [layer for layer, _ in layers])
        for layer, arrays in layers:
            group = weights.create_group(layer)
            _set_names(group, "weight_names", [weight for weight, _ in arrays])
            if len({weight for weight, _ in arrays}) < len(arrays):
                raise UnsupportedLayer(f"{name}: two weights of {layer!r} have one name, which no HDF5 file can hold.")
            for weight, array in arrays:
                group.create_dataset(weight, data=array)


def unwrapped(value: Any) -> Any:
    """The configuration as HDF5 files state it: tuples and shapes are plain lists."""
    if is_wrapped(value):
        return unwrapped(plain(value))
    if isinstance(value, Mapping):
        return {key: unwrapped(one) for key, one in value.items()}
    return [unwrapped(one) for one in value] if isinstance(value, list) else value


def _layers(saved: SavedObjects, edited: KerasFile) -> Iterator[tuple[str, list[tuple[str, Array]]]]:
    """The layers of the outermost model with all their arrays, those of inner models included."""
    arrays = {(path[0], node): array for path, node, array in placed_arrays(saved, edited)}
    for layer in saved.layers:
        if len(layer.path) == 1:
            yield layer.path[0], [(f"{one.name}:0", arrays[layer.path[0], one.node]) for one in layer.variables]


def _set_text(holder: h5py.Group, name: str, text: str) -> None:
    # As bytes: the h5py of older Keras can't decode what h5py 3 writes for a `str`.
    holder.attrs.create(name, text.encode())


def _set_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    encoded = np.array([name.encode() for name in names]) if names else np.array([], "S1")
    parts = -(-encoded.nbytes // MAX_ATTRIBUTE_BYTES)
    if parts <= 1:
        group.attrs.create(attribute, encoded)
        return
    for number, part in enumerate(np.array_split(encoded, parts + 1)):
        group.attrs.create(f"{attribute}{number}", part)

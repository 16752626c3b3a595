"""The `.keras` archive: configuration and metadata as JSON, arrays in an HDF5 file inside.

Arrays are found by position: `layers/<class in snake case>_<n>/vars/<i>`, counted per class, whatever the layer's
name. Writing copies the archive with two members exchanged.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from coppice.errors import HostileFile, TruncatedFile
from coppice.formats.keras.file import KerasFile, LayerPath, StoredArray, StoredLayer
from coppice.formats.keras.h5 import OPTIMIZER_DROPPED, parsed_config
from coppice.formats.keras.hdf5_copy import Edits, copy_edited
from coppice.formats.keras.hdf5_guard import damage_reported, open_guarded
from coppice.formats.zip_guard import Archive, open_zip
from coppice.keras_layers import Dialect
from coppice.keras_layers.configuration import Entry, class_name, is_model, named_entries
from coppice.keras_layers.rows import parts_of, row_of

_CONFIG, _METADATA, _ARRAYS = "config.json", "metadata.json", "model.weights.h5"
_MEMBERS = frozenset({_CONFIG, _METADATA, _ARRAYS})
#: Vocabularies of layers that were adapted to data; they stay as they are.
_ASSET = re.compile(r"assets/(.*/|.*\.txt)?")
_OPTIMIZER = "optimizer"
#: What the versions call the collection of a model's layers.
_LAYER_GROUPS = ("layers", "_layer_checkpoint_dependencies")


def read(path: Path, name: str) -> KerasFile:
    """Read the model; `name` is what the user called the file."""
    with open_zip(path, name=name) as archive, tempfile.TemporaryDirectory() as folder:
        config, dialect = _described(archive, name)
        with open_guarded(_unpacked(archive, Path(folder)), f"{name}/{_ARRAYS}") as arrays, damage_reported(name):
            layers = tuple(
                StoredLayer(path=layer, arrays=tuple(array for group in groups for array in _arrays(group)))
                for layer, groups in _groups(config, arrays, (), dialect)
            )
        return KerasFile(config=config, layers=layers, dialect=dialect)


def write(original: Path, edited: KerasFile, out: Path, name: str) -> tuple[str, ...]:
    """Write a copy of the archive with the edited configuration and arrays; gives notes on what was left out."""
    with open_zip(original, name=name) as archive, tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / "edited.h5"
        with open_guarded(_unpacked(archive, Path(folder)), f"{name}/{_ARRAYS}") as arrays:
            values = {f"/{array.name}": array.value for layer in edited.layers for array in layer.arrays}
            copy_edited(arrays, new, Edits(arrays=values, dropped=frozenset({f"/{_OPTIMIZER}"})))
            had_optimizer = _OPTIMIZER in arrays
        members = {_CONFIG: json.dumps(edited.config).encode(), _ARRAYS: new.read_bytes()}
        archive.rewrite(out, replaced=members)
        return (OPTIMIZER_DROPPED,) if had_optimizer else ()


def _described(archive: Archive, name: str) -> tuple[dict[str, Any], Dialect]:
    strange = sorted(name for name in set(archive.names) - _MEMBERS if not _ASSET.fullmatch(name))
    if strange:
        raise HostileFile(f"{name}: holds {strange[0][:200]!r}; a .keras archive holds {', '.join(sorted(_MEMBERS))}.")
    config = parsed_config(archive.read(_CONFIG), name)
    try:
        metadata = json.loads(archive.read(_METADATA))
        version = str(metadata["keras_version"])
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise TruncatedFile(f"{name}: {_METADATA} doesn't say which Keras wrote the file.") from e
    return config, Dialect(keras_version=version)


def _unpacked(archive: Archive, folder: Path) -> Path:
    # h5py wants a file; reading one through Python objects is slow and not what the guard was tested with.
    path = folder / "arrays.h5"
    path.write_bytes(archive.read(_ARRAYS))
    return path


def _groups(
    model: Entry, group: h5py.Group, path: LayerPath, dialect: Dialect
) -> Iterator[tuple[LayerPath, list[h5py.Group]]]:
    """The layers that have arrays, with the groups where they stand."""
    if not is_model(model):
        return
    collection = next((group[key] for key in _LAYER_GROUPS if key in group), None)
    if not isinstance(collection, h5py.Group):
        return
    for key, (name, entry) in zip(_keys(model), named_entries(model), strict=True):
        found = collection.get(key)
        if isinstance(found, h5py.Group):
            yield from _within(entry, found, (*path, name), dialect)


def _within(
    entry: Entry, group: h5py.Group, path: LayerPath, dialect: Dialect
) -> Iterator[tuple[LayerPath, list[h5py.Group]]]:
    """One layer's own arrays, then those of the layers inside it."""
    if is_model(entry):
        yield from _groups(entry, group, path, dialect)
        return
    row = row_of(entry, path[-1])
    # Of an unknown layer all arrays ride along, those of the layers that it made for itself too.
    own = (
        list(_all_with_arrays(group))
        if row is None
        else [found for name in row.groups for found in _with_arrays(group, name)]
    )
    if own:
        yield path, own
    for part in parts_of(entry, path[-1], dialect):
        inner = group.get(part.group)
        if isinstance(inner, h5py.Group):
            yield from _within(part.entry, inner, (*path, part.name), dialect)


def _all_with_arrays(group: h5py.Group) -> Iterator[h5py.Group]:
    yield from _with_arrays(group, "")
    for name in group:
        if name != "vars" and isinstance(group[name], h5py.Group):
            yield from _all_with_arrays(group[name])


def _with_arrays(group: h5py.Group, name: str) -> list[h5py.Group]:
    """The group of that name, if it holds arrays. TensorFlow writes private attributes with their underscore."""
    for spelled in (name, f"_{name}"):
        found = group.get(spelled) if name else group
        if isinstance(found, h5py.Group) and isinstance(found.get("vars"), h5py.Group) and len(found["vars"]):
            return [found]
    return []


#: Groups are called after the class as it is defined, which is not always the name that Keras gives it in public.
_OWN_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}


def _keys(model: Entry) -> Iterator[str]:
    """What the layers' groups are called: `dense`, `dense_1`, `conv2d`, ... by class, in the order of the model."""
    times: Counter[str] = Counter()
    for _, entry in named_entries(model):
        named = class_name(entry).rsplit(">", 1)[-1]
        kind = _snake_case(_OWN_NAMES.get(named, named))
        yield f"{kind}_{times[kind]}" if times[kind] else kind
        times[kind] += 1


def _snake_case(name: str) -> str:
    """Keras' own rule, letter by letter: Conv2D is conv2d, BatchNormalization is batch_normalization."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _arrays(group: h5py.Group) -> Iterator[StoredArray]:
    variables = group["vars"]
    for key in sorted(variables, key=lambda key: (len(key), key)):
        name = f"{group.name}/vars/{key}".lstrip("/")
        yield StoredArray(name=name, value=np.asarray(variables[key][()]), address=name)

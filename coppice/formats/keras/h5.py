"""Keras' HDF5 format: `model.save("model.h5")` of every Keras since 2.0, and `.keras` files of TensorFlow up to 2.12.

The configuration is a text attribute of the root; `model_weights` holds a group per layer. Names of layers and arrays
stand in attributes, in the order that loading goes by. Writing edits a copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from coppice.errors import HostileFile, ModelInvalid, TruncatedFile, UnknownFormat, WeightsOnly
from coppice.formats.keras.file import Array, KerasFile, StoredArray, StoredLayer
from coppice.formats.keras.hdf5_copy import Edits, copy_edited
from coppice.formats.keras.hdf5_guard import damage_reported, open_guarded
from coppice.keras_layers import Dialect, Generation
from coppice.keras_layers.configuration import class_name, is_model, named_entries

_WEIGHTS = "model_weights"
_OPTIMIZER = "optimizer_weights"
_TRAINING = "training_config"
#: Abbreviations that Keras 3 writes into an `.h5` and takes for metrics when it loads the file (seen in 3.15).
_LOSSES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}
#: The largest configuration seen has 0.5 MB.
_MAX_CONFIG_CHARACTERS = 64 * 1024 * 1024

OPTIMIZER_DROPPED = (
    "The optimizer's state was left out, because its arrays have the old sizes; the compiled optimizer and its "
    "settings are kept, and fit starts it afresh."
)
LOSS_SPELLED = (
    "The abbreviated name of the loss was written out, because Keras 3 does not load an .h5 that has it abbreviated."
)


def read(path: Path, name: str) -> KerasFile:
    """Read the model; `name` is what the user called the file."""
    with open_guarded(path, name) as file, damage_reported(name):
        config = _config(file, name)
        layers = tuple(
            StoredLayer(
                path=(layer,),
                arrays=tuple(
                    StoredArray(
                        name=weight, value=_array(group, weight, name), address=f"{group.name}/{weight}".lstrip("/")
                    )
                    for weight in _weight_names(group)
                ),
            )
            for layer, group in _layer_groups(file, config, name)
        )
        return KerasFile(config=config, layers=layers, dialect=_dialect(file))


def write(original: Path, edited: KerasFile, out: Path, name: str) -> tuple[str, ...]:
    """Write a copy of the file with the edited configuration and arrays; gives notes on what was left out."""
    with open_guarded(original, name) as file:
        groups = _layer_groups(file, _config(file, name), name)
        arrays: dict[str, Array] = {}
        for (_, group), layer in zip(groups, edited.layers, strict=True):
            arrays |= {f"{group.name}/{array.name}": array.value for array in layer.arrays}
        texts = {"model_config": json.dumps(edited.config)}
        mended = _mended_training(file, edited.dialect)
        if mended is not None:
            texts[_TRAINING] = mended
        copy_edited(file, out, Edits(arrays=arrays, root_texts=texts, dropped=frozenset({f"/{_OPTIMIZER}"})))
        dropped = (OPTIMIZER_DROPPED,) if _OPTIMIZER in file else ()
        return dropped if mended is None else (*dropped, LOSS_SPELLED)


def _mended_training(file: h5py.File, dialect: Dialect) -> str | None:
    """The record of `compile` with losses under the names that Keras 3 finds; None where they are so already."""
    if dialect.generation is not Generation.KERAS_3 or _TRAINING not in file.attrs:
        return None
    try:
        training = json.loads(_text(file.attrs[_TRAINING]))
        spelled = {**training, "loss": _spelled(training["loss"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # not ours to judge: Keras loads the model without it, or says why not
    return json.dumps(spelled) if spelled != training else None


def _spelled(loss: Any) -> Any:
    """One loss, or a list or dictionary of them by output."""
    if isinstance(loss, dict) and "class_name" not in loss:
        return {output: _spelled(one) for output, one in loss.items()}
    if isinstance(loss, list):
        return [_spelled(one) for one in loss]
    return _LOSSES.get(loss, loss) if isinstance(loss, str) else loss


def _dialect(file: h5py.File) -> Dialect:
    holders = [file, *([file[_WEIGHTS]] if _WEIGHTS in file else [])]
    version = next((_text(found.attrs["keras_version"]) for found in holders if "keras_version" in found.attrs), "1")
    backend = next((_text(found.attrs["backend"]) for found in holders if "backend" in found.attrs), "tensorflow")
    return Dialect(keras_version=version, backend=backend)


def _config(file: h5py.File, name: str) -> dict[str, Any]:
    if "model_config" not in file.attrs:
        collections = (_WEIGHTS, "layers", "_layer_checkpoint_dependencies")
        by_attribute = any(isinstance(held, h5py.Group) and "vars" in held for held in file.values())
        if by_attribute or "layer_names" in file.attrs or any(key in file for key in collections):
            raise WeightsOnly(
                f"{name}: holds weights and no model: it was written by save_weights. Save the whole model with "
                "model.save('model.h5') and send that."
            )
        raise UnknownFormat(f"{name}: an HDF5 file, but not one that Keras wrote: it has no model_config.")
    return parsed_config(_text(file.attrs["model_config"]), name)


def parsed_config(text: str | bytes, name: str) -> dict[str, Any]:
    """The configuration, decoded; raises where it is damaged, huge, or nested beyond reason."""
    if len(text) > _MAX_CONFIG_CHARACTERS:
        raise HostileFile(f"{name}: the model's configuration has {len(text):,} characters.")
    try:
        config = json.loads(text)
    except RecursionError as e:
        raise HostileFile(f"{name}: the model's configuration is nested beyond reason.") from e
    except ValueError as e:
        raise TruncatedFile(f"{name}: the model's configuration is not JSON: {e}.") from e
    if not isinstance(config, dict) or "class_name" not in config or "config" not in config:
        raise TruncatedFile(f"{name}: the model's configuration has no class_name and config.")
    return config


def _layer_groups(file: h5py.File, config: dict[str, Any], name: str) -> Iterator[tuple[str, h5py.Group]]:
    """The layers of the configuration with their groups, in file order."""
    if _WEIGHTS not in file or not isinstance(file[_WEIGHTS], h5py.Group):
        raise TruncatedFile(f"{name}: has a configuration but no {_WEIGHTS}.")
    weights = file[_WEIGHTS]
    stored = names_in(weights, "layer_names")
    for stored_name, layer in zip(stored, _configured(config, stored, name), strict=True):
        group = weights.get(stored_name)
        if not isinstance(group, h5py.Group):
            raise TruncatedFile(f"{name}: the weights of layer {stored_name!r} are missing.")
        yield layer, group


def _configured(config: dict[str, Any], stored: list[str], name: str) -> list[str]:
    """What the configuration calls the stored layers: the same, or, as Keras loads them, by order."""
    if not is_model(config):
        return stored
    named = named_entries(config)
    if set(stored) <= {layer for layer, _ in named}:
        return stored
    by_order = [layer for layer, entry in named if class_name(entry) != "InputLayer"]
    if len(by_order) != len(stored):
        raise ModelInvalid(f"{name}: has weights of {len(stored)} layers; its configuration has {len(by_order)}.")
    return by_order


def names_in(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; one of more than 64,512 bytes is spread over `attribute0`, `attribute1`, ..."""
    if attribute in group.attrs:
        return _texts(group.attrs[attribute])
    names: list[str] = []
    number = 0
    while f"{attribute}{number}" in group.attrs:
        names.extend(_texts(group.attrs[f"{attribute}{number}"]))
        number += 1
    return names


def _weight_names(group: h5py.Group) -> list[str]:
    return names_in(group, "weight_names")


def _array(group: h5py.Group, weight: str, name: str) -> Array:
    found = group.get(weight)
    if not isinstance(found, h5py.Dataset):
        raise TruncatedFile(f"{name}: the array {weight!r} of {group.name} is missing.")
    return np.asarray(found[()])


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in np.asarray(value).ravel().tolist()]


def _text(value: Any) -> str:
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return plain.decode("utf-8") if isinstance(plain, bytes) else str(plain)

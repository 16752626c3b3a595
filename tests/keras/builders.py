"""Keras files of any dialect, made without Keras: a configuration, arrays by layer, attributes as h5py 2 wrote them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from coppice.formats.keras.file import KerasFile, StoredArray, StoredLayer
from coppice.formats.keras.network import OpenModel, open_model
from coppice.keras_layers import Dialect

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Entry = dict[str, Any]

KERAS_2, KERAS_3 = "2.4.0", "3.15.1"


def layer(kind: str, name: str, **config: Any) -> Entry:
    """An entry as Keras 2 writes it."""
    return {"class_name": kind, "name": name, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def called(entry: Entry, *inputs: str | list[Any], **keywords: Any) -> Entry:
    """The entry with one call on layers by name (or on whole references) in the spelling of Keras 2."""
    refs = [[one, 0, 0, keywords] if isinstance(one, str) else [*one, keywords] for one in inputs]
    return {**entry, "inbound_nodes": [*entry.get("inbound_nodes", []), refs]}


def called_3(entry: Entry, *inputs: str, several: bool = False, shape: Sequence[int | None] = (None, 1)) -> Entry:
    """The entry with one call in the spelling of Keras 3."""
    tensors = [
        {
            "class_name": "__keras_tensor__",
            "config": {"shape": list(shape), "dtype": "float32", "keras_history": [n, 0, 0]},
        }
        for n in inputs
    ]
    return {**entry, "inbound_nodes": [{"args": [tensors] if several else tensors, "kwargs": {}}]}


def input_layer(shape: Sequence[int | None], name: str = "image", *, key: str = "batch_input_shape") -> Entry:
    """An InputLayer for samples of that shape."""
    return {**layer("InputLayer", name, **{key: [None, *shape]}), "inbound_nodes": []}


def functional(layers: Sequence[Entry], outputs: Any, inputs: Any = None, *, name: str = "model") -> Entry:
    """A functional model; `outputs` are references, or a layer's name for a single one."""
    written = [[outputs, 0, 0]] if isinstance(outputs, str) else outputs
    first = [[layers[0]["name"], 0, 0]] if inputs is None else inputs
    config = {"name": name, "layers": list(layers), "input_layers": first, "output_layers": written}
    return {"class_name": "Functional", "name": name, "config": config}


def sequential(layers: Sequence[Entry], *, name: str = "sequential") -> Entry:
    """A Sequential model."""
    return {"class_name": "Sequential", "name": name, "config": {"name": name, "layers": list(layers)}}


def stored(config: Entry, arrays: Mapping[str, Arrays], version: str = KERAS_2) -> KerasFile:
    """The model at rest, as a reader would give it; a nested model's arrays come under its own name."""
    return KerasFile(
        config=config,
        dialect=Dialect(keras_version=version),
        layers=tuple(
            StoredLayer(
                path=(name,), arrays=tuple(StoredArray(name=weight, value=value) for weight, value in held.items())
            )
            for name, held in arrays.items()
        ),
    )


def opened(config: Entry, arrays: Mapping[str, Arrays] | None = None, version: str = KERAS_2) -> OpenModel:
    """The model, ready to run."""
    return open_model(stored(config, arrays or {}, version))


def numbers(*shape: int, seed: int = 0) -> Array:
    """Random numbers in which no two channels are alike."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def weights(name: str, **arrays: Array) -> dict[str, Array]:
    """Arrays under the names that TensorFlow gives them: `conv/kernel:0`."""
    return {f"{name}/{variable}:0": value for variable, value in arrays.items()}


def write_h5(
    path: Path,
    config: Entry,
    arrays: Mapping[str, Arrays],
    *,
    version: str = KERAS_2,
    training: Entry | None = None,
    chunk: int | None = None,
) -> Path:
    """An `.h5` as `model.save` writes it; texts are bytes, and names may be chunked `chunk` to an attribute."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        if training is not None:
            file.attrs["training_config"] = json.dumps(training).encode()
        group = file.create_group("model_weights")
        write_names(group, "layer_names", list(arrays), chunk)
        for name, held in arrays.items():
            own = group.create_group(name)
            write_names(own, "weight_names", list(held), chunk)
            for weight, value in held.items():
                own.create_dataset(weight, data=value)
    return path


def write_names(group: h5py.Group, attribute: str, names: Sequence[str], chunk: int | None = None) -> None:
    """A list of names as Keras writes it: fixed-length bytes, in several attributes when they are many."""
    encoded = [name.encode() for name in names]
    if chunk is None:
        group.attrs[attribute] = np.array(encoded or np.zeros(0))
        return
    for number, start in enumerate(range(0, len(encoded), chunk)):
        group.attrs[f"{attribute}{number}"] = np.array(encoded[start : start + chunk])


def write_keras(path: Path, config: Entry, arrays: Mapping[str, Sequence[Array]], *, optimizer: bool = True) -> Path:
    """A `.keras` archive; arrays go by group, as `conv2d_1`."""
    weights_file = path.with_suffix(".weights.h5")
    with h5py.File(weights_file, "w") as file:
        for name, values in arrays.items():
            for number, value in enumerate(values):
                file.create_dataset(f"layers/{name}/vars/{number}", data=value)
        if optimizer:
            file.create_dataset("optimizer/vars/0", data=np.int64(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": KERAS_3, "date_saved": "2025-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights_file, "model.weights.h5")
    weights_file.unlink()
    return path

"""Loads Keras models whose tensors are packed in a safetensors file, with numpy, h5py and your own Keras alone.

    from load_quantized_keras import load_quantized
    model = load_quantized("MODEL_quantized.safetensors")

Made by Coppice. The weights become floats again, in the very file that the model came in; Keras then loads that.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

#: What a safetensors file calls its types; numpy has no bfloat16.
TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "C64": "<c8",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def load_quantized(path: Any, **options: Any) -> Any:
    """The model; `options` are those of Keras' own `load_model`, `custom_objects` for one. It is not compiled."""
    try:
        keras = import_module("tensorflow").keras
    except ImportError:
        keras = import_module("keras")
    with tempfile.TemporaryDirectory() as folder:
        return keras.models.load_model(str(unpack(path, folder)), **{"compile": False, **options})


def unpack(path: Any, folder: Any) -> Path:
    """Write the model in floats into a folder, as `model.h5` or `model.keras`, whatever it came as; gives the path."""
    packed = Packed(path)
    arrays = Path(folder) / "model.h5"
    with h5py.File(str(arrays), "w") as file:
        for name, attributes in packed.about["groups"].items():
            group = file.require_group("/" + name)
            for key, value in attributes.items():
                group.attrs.create(key, as_bytes(value))
        for name in packed.about["arrays"]:
            file.create_dataset("/" + name, data=packed.value(name))
    members = packed.about["members"]
    if members is None:
        return arrays
    whole = arrays.with_suffix(".keras")
    with zipfile.ZipFile(str(whole), "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
        archive.write(str(arrays), "model.weights.h5")
    return whole


class Packed:
    """The tensors of a file: the length of a JSON header, that header, and bytes."""

    def __init__(self, path: Any) -> None:
        with Path(path).open("rb") as file:
            self.entries = json.loads(file.read(int.from_bytes(file.read(8), "little")).decode())
            self.content = file.read()
        self.about = json.loads(self.entries.pop("__metadata__")["coppice"])

    def value(self, name: str) -> Any:
        """A tensor as its model has it."""
        numbers, how = self.stored(name), self.about["packed"].get(name)
        if how is None:
            return numbers
        if "bits" in how:
            bits, shape = how["bits"], how["shape"]
            if bits < 8:  # several in a byte, the first in the lowest bits
                places = np.arange(0, 8, bits, dtype="u1")
                numbers = (numbers[:, None] >> places & np.uint8(2**bits - 1)).ravel()
                numbers = numbers[: int(np.prod(shape))].reshape(shape)
            numbers = (numbers.astype("<f4") * how["step"] + how["first"]) * self.stored(how["scale"])
        return numbers.astype(TYPES[how["dtype"]])

    def stored(self, name: str) -> Any:
        """The numbers that lie in the file."""
        entry = self.entries[name]
        numbers = np.ndarray(entry["shape"], TYPES[entry["dtype"]], self.content, entry["data_offsets"][0])
        # The upper half of a float32 is a bfloat16.
        return (numbers.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else numbers


def as_bytes(value: Any) -> Any:
    """Texts as every h5py reads them."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return np.array([one.encode() for one in value], dtype="S")
    return np.array(value)

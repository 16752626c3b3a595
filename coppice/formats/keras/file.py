"""A Keras model at rest: what every Keras format holds, as one frozen value.

`.h5`, `.keras` and SavedModel all store the same two things: a configuration (JSON) and arrays. Readers make a
`KerasFile` of them and writers take one back; nothing between knows which format it was. What belongs to one format
alone (optimizer state, signatures, checksums) never enters here: its writer copies it from the original file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from coppice.keras_layers.dialect import Dialect

#: Names of layers from the model inwards: `("conv2d",)`, or `("vgg16", "block1_conv1")` inside a nested model.
LayerPath = tuple[str, ...]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """One array under the name that the file gives it, kept to the letter: `conv2d_1_1/kernel:0`, `vars/0`."""

    name: str
    value: Array
    #: Of its dataset, in an HDF5 file; it is not what makes an array another one.
    address: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """The arrays of one layer, in file order.

    At the path of a nested model stand the arrays of all its layers in Keras' order: the trainable ones of every
    layer first, then the others. A format that names inner layers gives one entry per inner path instead.
    """

    path: LayerPath
    arrays: tuple[StoredArray, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFile:
    """The model: its configuration `{"class_name": ..., "config": ...}` and the layers in file order."""

    config: Mapping[str, Any]
    layers: tuple[StoredLayer, ...]
    dialect: Dialect

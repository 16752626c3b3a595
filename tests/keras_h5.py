"""Keras `.h5` files as TensorFlow 2.3 writes them, made without TensorFlow: same attributes, groups, names, dtypes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

#: What TensorFlow 2.3.4 writes as the version of its Keras.
KERAS_VERSION = "2.4.0"

TRAINING = {
    "loss": "categorical_crossentropy",
    "metrics": ["accuracy"],
    "weighted_metrics": None,
    "loss_weights": None,
    "optimizer_config": {
        "class_name": "SGD",
        "config": {"name": "SGD", "learning_rate": 0.01, "decay": 0.0, "momentum": 0.9, "nesterov": False},
    },
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer: its class, its configuration without the name, the shapes of its arrays by name."""

    kind: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def dense(name: str, inputs: int, units: int, activation: str) -> Layer:
    """A dense layer."""
    return Layer(
        kind="Dense",
        name=name,
        config={"units": units, "activation": activation, "use_bias": True},
        arrays={"kernel": (inputs, units), "bias": (units,)},
    )


def convolution(name: str, inputs: int, filters: int) -> Layer:
    """A convolution by 3x3."""
    window = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "data_format": "channels_last"}
    return Layer(
        kind="Conv2D",
        name=name,
        config={"filters": filters, **window, "dilation_rate": [1, 1], "activation": "linear", "use_bias": True},
        arrays={"kernel": (3, 3, inputs, filters), "bias": (filters,)},
    )


def normalization(name: str, channels: int) -> Layer:
    """A batch normalization over the last axis of images."""
    config = {"axis": [3], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
    arrays = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (channels,))
    return Layer(kind="BatchNormalization", name=name, config=config, arrays=arrays)


def relu(name: str) -> Layer:
    """An activation as a layer of its own."""
    return Layer(kind="Activation", name=name, config={"activation": "relu"})


def pooling(name: str) -> Layer:
    """A maximum over 2x2."""
    window = {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid", "data_format": "channels_last"}
    return Layer(kind="MaxPooling2D", name=name, config=window)


#: The model of the documents (`define_model`), 90,102 parameters.
DOCUMENTS_MODEL = (
    convolution("conv2d", 1, 32),
    normalization("batch_normalization", 32),
    relu("activation"),
    pooling("max_pooling2d"),
    convolution("conv2d_1", 32, 64),
    normalization("batch_normalization_1", 64),
    relu("activation_1"),
    convolution("conv2d_2", 64, 32),
    normalization("batch_normalization_2", 32),
    relu("activation_2"),
    pooling("max_pooling2d_1"),
    Layer(kind="Flatten", name="flatten", config={"data_format": "channels_last"}),
    dense("dense", 512, 100, "relu"),
    dense("dense_1", 100, 10, "softmax"),
)
DOCUMENTS_INPUT = (28, 28, 1)


def sequential(layers: Sequence[Layer], shape: Sequence[int]) -> bytes:
    """The `.h5` of a Sequential model whose arrays are random, no two channels of any alike."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        model = {"class_name": "Sequential", "config": {"name": "sequential", "layers": [*_entries(layers, shape)]}}
        file.attrs["keras_version"], file.attrs["backend"] = KERAS_VERSION, "tensorflow"
        file.attrs["model_config"] = json.dumps(model)
        file.attrs["training_config"] = json.dumps(TRAINING)
        _write_arrays(file.create_group("model_weights"), layers)
        momentum = file.create_group("optimizer_weights/SGD")
        momentum.create_dataset("iter:0", data=np.int64(12))
        file["optimizer_weights"].attrs["weight_names"] = np.array([b"SGD/iter:0"])
    return buffer.getvalue()


def _entries(layers: Sequence[Layer], shape: Sequence[int]) -> Iterator[dict[str, Any]]:
    entered = {"batch_input_shape": [None, *shape]}
    first = {**entered, "dtype": "float32", "sparse": False, "ragged": False, "name": f"{layers[0].name}_input"}
    yield {"class_name": "InputLayer", "config": first}
    for number, layer in enumerate(layers):
        own = {"name": layer.name, "trainable": True, **(entered if number == 0 else {}), "dtype": "float32"}
        yield {"class_name": layer.kind, "config": {**own, **layer.config}}


def _write_arrays(weights: h5py.Group, layers: Sequence[Layer]) -> None:
    numbers = np.random.default_rng(2026)
    weights.attrs["keras_version"], weights.attrs["backend"] = KERAS_VERSION, "tensorflow"
    weights.attrs["layer_names"] = np.array([layer.name.encode() for layer in layers])
    for layer in layers:
        group = weights.create_group(layer.name)
        names = [f"{layer.name}/{array}:0" for array in layer.arrays]
        # An empty list becomes an array of numbers, in the real files too.
        group.attrs["weight_names"] = np.array([name.encode() for name in names] or np.zeros(0))
        for name, shape in zip(names, layer.arrays.values(), strict=True):
            group.create_dataset(name, data=numbers.uniform(0.1, 0.4, shape).astype(np.float32))

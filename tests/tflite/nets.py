"""Keras files with convolutions of every kind, a batch norm and dense layers, made without Keras; and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.keras.builders import (
    Array,
    Entry,
    called,
    called_3,
    functional,
    input_layer,
    layer,
    numbers,
    weights,
    write_h5,
    write_keras,
)

#: Small beside the inputs, so that nothing saturates; no two channels alike.
SCALE = 0.3


def samples(count: int = 40) -> Array:
    """Images as the nets take them."""
    return np.random.default_rng(5).normal(size=(count, 8, 8, 3)).astype(np.float32)


def write_samples(path: Path, images: Array) -> Path:
    """A data set without labels."""
    np.savez(path, image=images)
    return path


def kernel(*shape: int) -> Array:
    """Weights of a layer."""
    return SCALE * numbers(*shape)


def kernels() -> dict[str, dict[str, Array]]:
    """The arrays of the net, by layer."""
    norm = {
        "gamma": 1 + SCALE * numbers(16),
        "beta": SCALE * numbers(16, seed=1),
        "moving_mean": SCALE * numbers(16, seed=2),
        "moving_variance": 1 + np.abs(numbers(16, seed=3)),
    }
    return {
        "conv": {"kernel": kernel(3, 3, 3, 16)},
        "norm": norm,
        "depthwise": {"depthwise_kernel": kernel(3, 3, 16, 1), "bias": SCALE * numbers(16, seed=4)},
        "hidden": {"kernel": kernel(6 * 6 * 16, 32), "bias": SCALE * numbers(32)},
        "classes": {"kernel": kernel(32, 10), "bias": SCALE * numbers(10)},
    }


def write_net_h5(path: Path) -> Path:
    """The net as TensorFlow 2.3 writes it."""
    chain = _chain()
    layers = [called(entry, before) for entry, before in zip(chain, ["image", *_names(chain)], strict=False)]
    arrays = {name: weights(name, **held) for name, held in kernels().items()}
    return write_h5(path, functional([_input("batch_input_shape"), *layers], "classes"), arrays)


def write_net_keras(path: Path) -> Path:
    """The same as Keras 3 writes it."""
    chain = _chain()
    chain[1]["config"]["axis"] = 3  # TensorFlow wrote a list
    first = _input("batch_shape")
    shapes = [
        (None, 8, 8, 3),
        (None, 8, 8, 16),
        (None, 8, 8, 16),
        (None, 8, 8, 16),
        (None, 6, 6, 16),
        (None, 576),
        (None, 32),
    ]
    layers = [
        called_3(entry, before, shape=shape)
        for entry, before, shape in zip(chain, ["image", *_names(chain)], shapes, strict=False)
    ]
    groups = {"conv": "conv2d", "norm": "batch_normalization", "depthwise": "depthwise_conv2d"}
    groups |= {"hidden": "dense", "classes": "dense_1"}
    arrays = {groups[name]: list(held.values()) for name, held in kernels().items()}
    config = functional([{"module": "keras.layers", **entry} for entry in (first, *layers)], [["classes", 0, 0]])
    return write_keras(path, {"module": "keras.src.models.functional", **config}, arrays)


def _input(key: str) -> Entry:
    entry = input_layer((8, 8, 3), key=key)
    del entry["config"]["trainable"]  # real Keras takes the rest
    return entry


def _chain() -> list[Entry]:
    def of(kind: str, name: str, **config: Any) -> Entry:
        return layer(kind, name, **config)

    return [
        of("Conv2D", "conv", filters=16, kernel_size=[3, 3], strides=[1, 1], padding="same", use_bias=False),
        of("BatchNormalization", "norm", axis=[3], epsilon=0.001),
        of("ReLU", "relu"),
        of("DepthwiseConv2D", "depthwise", kernel_size=[3, 3], strides=[1, 1], padding="valid", activation="relu"),
        of("Flatten", "flatten"),
        of("Dense", "hidden", units=32, activation="relu"),
        of("Dense", "classes", units=10, activation="softmax"),
    ]


def _names(chain: list[Entry]) -> list[str]:
    return [str(entry["name"]) for entry in chain]

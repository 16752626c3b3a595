"""What h5py alone says of the documents' Keras model at 40 percent."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py

#: percent=0.4 of 32, 64, 32 filters and 100 units, to the nearest whole number; 4x4 pixels reach the dense layer.
SHAPES = {
    "conv2d/kernel:0": (3, 3, 1, 19),
    "conv2d/bias:0": (19,),
    **{f"batch_normalization/{name}:0": (19,) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
    "conv2d_1/kernel:0": (3, 3, 19, 38),
    "conv2d_1/bias:0": (38,),
    **{f"batch_normalization_1/{name}:0": (38,) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
    "conv2d_2/kernel:0": (3, 3, 38, 19),
    "conv2d_2/bias:0": (19,),
    **{f"batch_normalization_2/{name}:0": (19,) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
    "dense/kernel:0": (4 * 4 * 19, 60),
    "dense/bias:0": (60,),
    "dense_1/kernel:0": (60, 10),
    "dense_1/bias:0": (10,),
}
PARAMETERS = 32_457


def check_documents_model(pruned: Path, original: Path) -> None:
    """Hold the download to the numbers, and to the file that was sent in everything but sizes."""
    with h5py.File(pruned) as file, h5py.File(original) as sent:
        weights = file["model_weights"]
        names = [name.decode() for layer in weights.attrs["layer_names"] for name in _names(weights[layer.decode()])]
        arrays = {name: weights[name.split("/")[0]][name].shape for name in names}
        assert arrays == SHAPES
        assert sum(map(math.prod, arrays.values())) == PARAMETERS
        layers = {layer["config"]["name"]: layer["config"] for layer in _model(file)["config"]["layers"]}
        assert [layers[name]["filters"] for name in ("conv2d", "conv2d_1", "conv2d_2")] == [19, 38, 19]
        assert [layers[name]["units"] for name in ("dense", "dense_1")] == [60, 10]
        assert [layer["class_name"] for layer in _model(file)["config"]["layers"]] == [
            layer["class_name"] for layer in _model(sent)["config"]["layers"]
        ]
        assert file.attrs["training_config"] == sent.attrs["training_config"]
        assert file.attrs["keras_version"] == sent.attrs["keras_version"]
        assert list(weights.attrs["layer_names"]) == list(sent["model_weights"].attrs["layer_names"])


def _names(group: h5py.Group) -> list[bytes]:
    return [name for name in group.attrs["weight_names"] if isinstance(name, bytes)]


def _model(file: h5py.File) -> dict[str, dict[str, list[dict[str, dict[str, object]]]]]:
    return dict(json.loads(file.attrs["model_config"]))

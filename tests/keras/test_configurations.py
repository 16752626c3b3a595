"""Configurations of every dialect mean the same network: each spelling against one worked out in plain torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coppice.errors import BadUpload, UnsupportedLayer
from coppice.formats.keras import h5 as keras_h5
from coppice.formats.keras.network import open_model
from coppice.keras_layers import KerasNetwork
from tests.keras.builders import (
    KERAS_3,
    called,
    called_3,
    functional,
    input_layer,
    layer,
    numbers,
    opened,
    sequential,
    weights,
    write_h5,
)

KERNEL, BIAS = numbers(4, 3), numbers(3)
DENSE = {"dense": weights("dense", kernel=KERNEL, bias=BIAS)}
X = torch.from_numpy(numbers(2, 4, seed=1))
EXPECTED = X @ torch.from_numpy(KERNEL) + torch.from_numpy(BIAS)


def output(config: dict[str, Any], arrays: Any, *inputs: torch.Tensor, version: str = "2.4.0") -> Any:
    with torch.no_grad():
        return opened(config, arrays, version).network.module(*inputs)


def dense(name: str = "dense", **config: Any) -> dict[str, Any]:
    return layer("Dense", name, units=3, activation="linear", use_bias=True, **config)


SPELLINGS = {
    "Keras 2.2.2: a bare list": {"class_name": "Sequential", "config": [dense(batch_input_shape=[None, 4])]},
    "Keras 2.2.4: no InputLayer": sequential([dense(batch_input_shape=[None, 4])]),
    "TensorFlow 2.3: an InputLayer and a shape on the first layer": sequential(
        [input_layer([4]), dense(batch_input_shape=[None, 4])]
    ),
    "Keras 2, functional": functional([input_layer([4]), called(dense(), "image")], "dense"),
    "Keras 2, functional, un-nested": functional(
        [input_layer([4]), {**dense(), "inbound_nodes": [["image", 0, 0, {}]]}], "dense"
    ),
    "Keras 2.2.4, functional, called Model": {
        **functional([input_layer([4]), called(dense(), "image")], "dense"),
        "class_name": "Model",
    },
    "SavedModel: shapes as objects": sequential(
        [dense(batch_input_shape={"class_name": "__tuple__", "items": [None, 4]})]
    ),
    "Keras 3, functional, one output un-nested": functional(
        [input_layer([4], key="batch_shape"), called_3(dense(), "image")], ["dense", 0, 0], ["image", 0, 0]
    ),
}


@pytest.mark.parametrize("config", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_is_the_same_model(config: dict[str, Any]) -> None:
    torch.testing.assert_close(output(config, DENSE, X), EXPECTED)


def test_outputs_in_a_dict_come_back_in_a_dict() -> None:
    config = functional([input_layer([4]), called(dense(), "image")], {"scores": ["dense", 0, 0]})
    found = output(config, DENSE, X)
    assert set(found) == {"scores"}
    torch.testing.assert_close(found["scores"], EXPECTED)


def test_inputs_in_a_dict_are_taken_by_their_layers() -> None:
    layers = [input_layer([4], "a"), input_layer([4], "b"), called(layer("Subtract", "minus"), "a", "b")]
    config = functional(layers, "minus", {"first": ["a", 0, 0], "second": ["b", 0, 0]})
    torch.testing.assert_close(output(config, {}, X, 3 * X), -2 * X)


def test_a_shared_layer_has_one_set_of_arrays() -> None:
    twice = called(called(dense(), "a"), "b")
    layers = [input_layer([4], "a"), input_layer([4], "b"), twice]
    layers.append(called(layer("Subtract", "minus"), ["dense", 0, 0], ["dense", 1, 0]))
    model = opened(functional(layers, "minus", [["a", 0, 0], ["b", 0, 0]]), DENSE)
    assert [name for name, _ in model.network.module.named_parameters()] == ["dense.kernel", "dense.bias"]
    with torch.no_grad():
        torch.testing.assert_close(model.network.module(X, 3 * X), -2 * X @ torch.from_numpy(KERNEL))


@pytest.mark.parametrize(("version", "node"), [("2.4.0", 1), (KERAS_3, 0)])
def test_calls_of_a_nested_model_are_counted_as_the_dialect_counts(version: str, node: int) -> None:
    inner = functional([input_layer([4], "crop"), called(dense(), "crop")], "dense", name="inner")
    layers = [input_layer([4]), called(inner, "image")]
    layers.append(called(layer("Activation", "act", activation="linear"), ["inner", node, 0]))
    found = output(functional(layers, "act"), {"inner": DENSE["dense"]}, X, version=version)
    torch.testing.assert_close(found, EXPECTED)


def test_arrays_of_a_nested_model_come_trainable_first() -> None:
    normal = layer("BatchNormalization", "norm", axis=[1], epsilon=0.0, momentum=0.9, scale=True, center=True)
    inner = sequential([input_layer([4], "crop"), normal, dense()], name="inner")
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    trained = {**weights("norm", gamma=ones, beta=zeros), **DENSE["dense"]}
    held = {**trained, **weights("norm", moving_mean=zeros + 2, moving_variance=ones)}
    found = output(sequential([input_layer([4]), inner]), {"inner": held}, X)
    torch.testing.assert_close(found, (X - 2) @ torch.from_numpy(KERNEL) + torch.from_numpy(BIAS))


def test_a_frozen_inner_layer_puts_its_arrays_last() -> None:
    first = layer("Dense", "first", units=4, activation="linear", use_bias=False)
    first["config"]["trainable"] = False
    inner = sequential([input_layer([4], "crop"), first, dense()], name="inner")
    held = {**DENSE["dense"], **weights("first", kernel=2 * np.eye(4, dtype=np.float32))}
    found = output(sequential([input_layer([4]), inner]), {"inner": held}, X)
    torch.testing.assert_close(found, 2 * X @ torch.from_numpy(KERNEL) + torch.from_numpy(BIAS))


def test_names_of_arrays_that_belong_to_another_layer_do_not_matter() -> None:
    renamed = {"dense": weights("dense_7_1", kernel=KERNEL, bias=BIAS)}
    torch.testing.assert_close(output(sequential([input_layer([4]), dense()]), renamed, X), EXPECTED)


@pytest.mark.parametrize(
    ("kind", "config", "node"),
    [
        ("TFOpLambda", {"function": "math.subtract"}, ["image", 0, 0, {"y": 1.5, "name": None}]),
        ("TensorFlowOpLayer", {"node_def": {"op": "Sub"}, "constants": {"1": 1.5}}, [["image", 0, 0, {}]]),
        ("TensorFlowOpLayer", {"node_def": json.dumps({"op": "Sub"}), "constants": {"1": 1.5}}, [["image", 0, 0, {}]]),
        ("Subtract", {}, {"args": ["TENSOR", 1.5], "kwargs": {}}),
    ],
)
def test_arithmetic_between_layers_is_read_in_three_dialects(kind: str, config: dict[str, Any], node: Any) -> None:
    entry: dict[str, Any] = {"class_name": kind, "name": "op", "config": {"name": "op", **config}}
    if isinstance(node, dict):
        tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": ["image", 0, 0]}}
        node = {"args": [tensor, 1.5], "kwargs": {}}
    entry["inbound_nodes"] = [node]
    torch.testing.assert_close(output(functional([input_layer([4]), entry], "op"), {}, X), X - 1.5)


def test_a_tensor_among_the_keywords_is_found() -> None:
    plus: dict[str, Any] = {
        "class_name": "TFOpLambda",
        "name": "plus",
        "config": {"name": "plus", "function": "__operators__.add"},
    }
    plus["inbound_nodes"] = [["image", 0, 0, {"y": ["double", 0, 0], "name": None}]]
    double = called(layer("Rescaling", "double", scale=2.0, offset=0.0), "image")
    torch.testing.assert_close(output(functional([input_layer([4]), double, plus], "plus"), {}, X), 3 * X)


def test_layers_are_named_as_their_user_named_them() -> None:
    config = sequential([input_layer([4]), dense("block.1/dense"), layer("Activation", "train", activation="relu")])
    model = opened(config, {"block.1/dense": weights("x", kernel=KERNEL, bias=BIAS)})
    assert [one.name for one in model.network.layers] == ["block.1/dense", "train"]
    for one in model.network.layers:
        model.network.module.get_submodule(one.path)


def test_a_layer_called_with_training_false_stays_in_inference_mode() -> None:
    drop = layer("Dropout", "drop", rate=0.5)
    drop["inbound_nodes"] = [[["image", 0, 0, {"training": False}]]]
    module = opened(functional([input_layer([4]), drop], "drop")).network.module
    assert torch.equal(module.train()(X), X)


@pytest.mark.parametrize("version", ["1.2.2", "1.0.0"])
def test_keras_1_is_refused(version: str) -> None:
    with pytest.raises(BadUpload, match="Keras 1"):
        opened(sequential([dense(batch_input_shape=[None, 4])]), DENSE, version)


def test_a_reference_to_nothing_is_refused() -> None:
    with pytest.raises(BadUpload, match="dense refer to tensors that nothing computes"):
        opened(functional([input_layer([4]), called(dense(), "nowhere")], "dense"), DENSE)


def test_arrays_that_do_not_fit_name_the_layer() -> None:
    wrong = {"dense": weights("dense", kernel=numbers(5, 3), bias=BIAS)}
    with pytest.raises(BadUpload, match="at layer 'dense'"):
        opened(sequential([input_layer([4]), dense()]), wrong)


def test_missing_arrays_are_named() -> None:
    with pytest.raises(BadUpload, match=r"'dense' .* lacks its bias, kernel"):
        opened(sequential([input_layer([4]), dense()]), {})


@pytest.mark.parametrize("kind", ["TextVectorization", "TFSMLayer", "KerasLayer"])
def test_what_changes_shapes_and_is_unknown_is_refused_by_name(kind: str) -> None:
    with pytest.raises(UnsupportedLayer, match=f"'it' is a {kind}"):
        opened(sequential([input_layer([4, 4]), layer(kind, "it")]))


def test_slashes_in_names_make_nested_groups(tmp_path: Path) -> None:
    config = sequential([input_layer([4]), dense("head/dense")])
    path = write_h5(tmp_path / "m.h5", config, {"head/dense": weights("head/dense", kernel=KERNEL, bias=BIAS)})
    module = open_model(keras_h5.read(path, "m.h5")).network.module
    assert isinstance(module, KerasNetwork)
    with torch.no_grad():
        torch.testing.assert_close(module(X), EXPECTED)

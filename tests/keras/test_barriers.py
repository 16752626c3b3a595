"""Layers that can't be computed: passed over where the arrays around them allow it, refused by name where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from coppice import pipeline
from coppice.errors import UnsupportedLayer
from coppice.records.frameworks import Framework
from coppice.records.request import Request
from coppice.tracing.network import Network
from tests.keras.builders import called, functional, input_layer, layer, numbers, opened, sequential, weights

LAMBDA = ["4wEAAAAAAAAA", None, None]  # bytecode that isn't even bytecode


def dense(name: str, inputs: int, units: int) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    entry = layer("Dense", name, units=units, activation="linear", use_bias=True)
    return entry, {name: weights(name, kernel=numbers(inputs, units), bias=numbers(units))}


def chain(middle: dict[str, Any], arrays: Any, after: int = 8) -> Network:
    """dense 4 to 8, the layer, dense to 6, dense to 3."""
    (first, one), (second, two), (last, three) = dense("first", 4, 8), dense("second", after, 6), dense("last", 6, 3)
    model = sequential([input_layer([4]), first, middle, second, last])
    return opened(model, {**one, middle["name"]: arrays, **two, **three}).network


def pruned(network: Network) -> pipeline.Pruned:
    return pipeline.prune(network, Request(framework=Framework.KERAS, percent=0.5), lambda _: None)


def test_a_lambda_keeps_the_channels_that_touch_it() -> None:
    result = pruned(chain(layer("Lambda", "code", function=LAMBDA), {}))
    assert result.plan.kept.keys() == {"second.kernel", "second.bias", "last.kernel"}
    assert any("'code' is a Lambda" in entry.reason for entry in result.frozen if "first" in entry.layers)
    assert any("code (Lambda)" in note and "identity" in note for note in result.notes)


def test_arrays_of_a_custom_layer_are_left_alone() -> None:
    network = chain(layer("MyScale", "scale"), weights("scale", w=numbers(8)))
    kept = pruned(network).plan.kept
    assert not any(name.startswith(("scale", "first")) for name in kept)
    assert "second.kernel" in kept


def test_a_class_of_the_users_that_is_called_like_a_keras_class_is_not_that_class() -> None:
    own = {**layer("ReLU", "mine"), "module": "my_project.layers", "registered_name": "my_project>ReLU"}
    assert any("mine (ReLU)" in note for note in chain(own, {}).notes)


def test_an_activation_of_the_users_is_a_barrier_too() -> None:
    entry = layer("Activation", "act", activation="my_function")
    network = chain(entry, {})
    assert any("act (activation my_function)" in note for note in network.notes)
    assert not any(name.startswith("first") for name in pruned(network).plan.kept)


def test_a_lambda_that_changes_the_shape_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedLayer, match=r"'code' \(Lambda\)"):
        chain(layer("Lambda", "code", function=LAMBDA), {}, after=16)


def test_a_lambda_of_unlike_inputs_is_refused_by_name() -> None:
    (first, one) = dense("first", 4, 8)
    code = called(layer("Lambda", "code", function=LAMBDA), "image", "first")
    with pytest.raises(UnsupportedLayer, match="'code'"):
        opened(functional([input_layer([4]), called(first, "image"), code], "code"), one)


def test_gradients_pass_a_barrier() -> None:
    network = chain(layer("Lambda", "code", function=LAMBDA), {})
    network.module(*network.inputs).sum().backward()
    gradient = network.module.get_parameter("first.kernel").grad
    assert gradient is not None
    assert np.isfinite(gradient.numpy()).all()
    assert torch.count_nonzero(gradient) > 0

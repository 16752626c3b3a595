"""After a cut the configuration says what the tensors are, so that the file builds the very model that was verified."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from coppice import pipeline
from coppice.formats.keras.network import OpenModel, open_model
from coppice.keras_layers import KerasNetwork
from coppice.records.frameworks import Framework
from coppice.records.request import Request
from tests.keras.builders import called, functional, input_layer, layer, numbers, opened, sequential, weights

WINDOW = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "activation": "relu", "use_bias": True}


def conv(name: str, into: int, filters: int, **config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    entry = layer("Conv2D", name, filters=filters, **WINDOW, **config)
    return entry, weights(name, kernel=numbers(3, 3, into, filters), bias=numbers(filters))


def dense(name: str, into: int, units: int) -> tuple[dict[str, Any], dict[str, Any]]:
    entry = layer("Dense", name, units=units, activation="linear", use_bias=True)
    return entry, weights(name, kernel=numbers(into, units), bias=numbers(units))


def cut(model: OpenModel) -> tuple[OpenModel, KerasNetwork]:
    """The pruned module's own file, opened anew, and that module."""
    request = Request(framework=Framework.KERAS, percent=0.5)
    pruned = pipeline.prune(model.network, request, lambda _: None).module
    assert isinstance(pruned, KerasNetwork)
    return open_model(model.edited(pruned)), pruned


def assert_same(again: OpenModel, pruned: KerasNetwork) -> None:
    with torch.no_grad():
        torch.testing.assert_close(again.network.module(*again.network.inputs), pruned(*again.network.inputs))


def config_of(model: OpenModel, *path: str) -> dict[str, Any]:
    entry: Any = model.file.config
    for name in path:
        entry = next(one for one in entry["config"]["layers"] if one["config"]["name"] == name)
    config: dict[str, Any] = entry["config"]
    return config


@pytest.mark.parametrize(("target", "expected"), [([-1, 8], [-1, 4]), ([36, 8], [36, 4]), ([6, 6, 8], [6, 6, 4])])
def test_the_target_of_a_reshape_follows(target: list[int], expected: list[int]) -> None:
    (first, one), (last, two) = conv("first", 2, 8), dense("last", 8, 3)
    reshape = layer("Reshape", "reshape", target_shape=target)
    model = opened(sequential([input_layer([6, 6, 2]), first, reshape, last]), {"first": one, "last": two})
    again, pruned = cut(model)
    assert config_of(again, "reshape")["target_shape"] == expected
    assert_same(again, pruned)


def test_an_open_axis_of_an_input_stays_open() -> None:
    (first, one), (last, two) = conv("first", 2, 8), dense("last", 8, 3)
    layers = [input_layer([None, None, 2]), first, layer("GlobalAveragePooling2D", "pool"), last]
    again, pruned = cut(opened(sequential(layers), {"first": one, "last": two}))
    assert config_of(again, "image")["batch_input_shape"] == [None, None, None, 2]
    assert_same(again, pruned)


def test_input_shapes_inside_a_nested_model_follow() -> None:
    (first, one), (inner_conv, two), (last, three) = conv("first", 2, 8), conv("inner_conv", 8, 6), dense("last", 6, 3)
    inner_conv["config"]["batch_input_shape"] = [None, 6, 6, 8]
    inner = sequential([input_layer([6, 6, 8], "crop"), inner_conv], name="inner")
    layers = [input_layer([6, 6, 2]), called(first, "image"), called(inner, "first")]
    layers += [called(layer("GlobalAveragePooling2D", "pool"), ["inner", 1, 0]), called(last, "pool")]
    again, pruned = cut(opened(functional(layers, "last"), {"first": one, "inner": two, "last": three}))
    assert config_of(again, "inner", "crop")["batch_input_shape"] == [None, 6, 6, 4]
    assert config_of(again, "inner", "inner_conv")["batch_input_shape"] == [None, 6, 6, 4]
    assert config_of(again, "inner", "inner_conv")["filters"] == 3
    assert config_of(again, "image")["batch_input_shape"] == [None, 6, 6, 2]
    assert_same(again, pruned)


def test_a_grouped_convolution_keeps_its_groups() -> None:
    (first, one), (last, two) = conv("first", 2, 8), dense("last", 8, 3)
    grouped = layer("Conv2D", "grouped", filters=8, groups=2, **WINDOW)
    arrays = {"first": one, "grouped": weights("grouped", kernel=numbers(3, 3, 4, 8), bias=numbers(8)), "last": two}
    layers = [input_layer([6, 6, 2]), first, grouped, layer("GlobalMaxPooling2D", "pool"), last]
    again, pruned = cut(opened(sequential(layers), arrays))
    config = config_of(again, "grouped")
    assert (config["groups"], config["filters"]) == (2, 4)
    assert_same(again, pruned)


def test_a_second_look_changes_nothing() -> None:
    (first, one), (last, two) = conv("first", 2, 8), dense("last", 8, 3)
    layers = [input_layer([6, 6, 2]), first, layer("Reshape", "reshape", target_shape=[36, 8]), last]
    model = opened(sequential(layers), {"first": one, "last": two})
    _, pruned = cut(model)
    once = repr(pruned.entry)
    pruned.resized()
    assert repr(pruned.entry) == once


def test_the_original_configuration_is_left_alone() -> None:
    (first, one), (last, two) = conv("first", 2, 8), dense("last", 8, 3)
    model = opened(sequential([input_layer([6, 6, 2]), first, last]), {"first": one, "last": two})
    before = repr((model.file.config, getattr(model.network.module, "entry", None)))
    cut(model)
    assert repr((model.file.config, getattr(model.network.module, "entry", None))) == before

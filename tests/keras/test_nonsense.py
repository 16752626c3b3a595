"""Configurations that make no sense end in a message, never in a stack trace."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from coppice.errors import CoppiceError, HostileFile
from tests.keras.builders import called, functional, input_layer, layer, numbers, opened, sequential, weights

JUNK: tuple[Any, ...] = (None, -1, 0, 3, 1.5, "", "same", [], {}, [None], [[]], {"class_name": "x", "config": {}}, True)


def model() -> tuple[dict[str, Any], dict[str, Any]]:
    """A convolution, a pooling, a nested model, a sum."""
    window = {
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "dilation_rate": [1, 1],
        "activation": "relu",
    }
    inner = sequential(
        [input_layer([3, 3, 4], "crop"), layer("Conv2D", "inner_conv", filters=4, **window)], name="inner"
    )
    layers = [
        input_layer([6, 6, 2]),
        called(layer("Conv2D", "conv", filters=4, **window), "image"),
        called(layer("MaxPooling2D", "pool", pool_size=[2, 2], strides=[2, 2], padding="valid"), "conv"),
        called(inner, "pool"),
        called(layer("Add", "sum"), "pool", ["inner", 1, 0]),
        called(layer("Reshape", "reshape", target_shape=[36]), "sum"),
        called(layer("Dense", "dense", units=3, activation="softmax"), "reshape"),
    ]
    arrays = {
        "conv": weights("conv", kernel=numbers(3, 3, 2, 4), bias=numbers(4)),
        "inner": weights("inner_conv", kernel=numbers(3, 3, 4, 4), bias=numbers(4)),
        "dense": weights("dense", kernel=numbers(36, 3), bias=numbers(3)),
    }
    return functional(layers, "dense"), arrays


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every position in a configuration."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, branch in items:
        yield (*path, key)
        yield from places(branch, (*path, key))


def spoiled(config: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The configuration with one value dropped, or exchanged for junk."""
    result = copy.deepcopy(config)
    path = chance.choice(list(places(result)))
    holder: Any = result
    for key in path[:-1]:
        holder = holder[key]
    if chance.random() < 0.3:
        del holder[path[-1]]
    else:
        holder[path[-1]] = chance.choice(JUNK)
    return result


def test_the_model_itself_opens() -> None:
    opened(*model())


@pytest.mark.parametrize("seed", range(8))
def test_a_spoiled_configuration_opens_or_is_refused(seed: int) -> None:
    config, arrays = model()
    chance = random.Random(seed)
    for _ in range(60):
        try:
            opened(spoiled(config, chance), arrays)
        except CoppiceError as error:
            assert error.message  # noqa: PT017  # many a spoiled value is never read


def test_models_nested_beyond_reason_are_refused() -> None:
    config = sequential([input_layer([4])])
    for _ in range(2000):
        config = sequential([config])
    with pytest.raises(HostileFile, match="beyond reason"):
        opened(config)

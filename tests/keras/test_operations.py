"""Operations between layers: indices as numpy takes them, and numbers in the wiring that a cut must respect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from coppice import pipeline
from coppice.keras_layers.meanings import picked
from coppice.records.frameworks import Framework
from coppice.records.request import Request
from tests.keras.builders import called, functional, input_layer, layer, numbers, opened, weights


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), slice(None, None, -1)),
        (Ellipsis, slice(4, 1, -2)),
        (slice(None), None, slice(None), slice(-2, None, -1)),
        (0, slice(None, None, -1), 1),
        (slice(None), slice(1, 4, -1)),
    ],
    ids=str,
)
def test_an_index_may_go_backwards(index: tuple[Any, ...]) -> None:
    x = numbers(2, 5, 6)
    np.testing.assert_array_equal(picked(torch.from_numpy(x), index).numpy(), x[index])


@pytest.mark.slow
def test_what_a_number_in_the_wiring_counts_stays_and_the_rest_is_cut() -> None:
    """A gate tiled to 16 channels: the layer that it multiplies can't have fewer."""
    wide, gate = layer("Dense", "wide", units=16, use_bias=False), layer("Dense", "gate", units=1, use_bias=False)
    tiled = called(layer("TFOpLambda", "tiled", function="tile"), "gate", multiples=[1, 16])
    product = called(layer("Multiply", "product"), "wide", "tiled")
    after = called(layer("Dense", "after", units=6, use_bias=False), "product")
    last = called(layer("Dense", "last", units=2, use_bias=False), "after")
    model = functional(
        [input_layer([4]), called(wide, "image"), called(gate, "image"), tiled, product, after, last], "last"
    )
    shapes = {"wide": (4, 16), "gate": (4, 1), "after": (16, 6), "last": (6, 2)}
    arrays = {name: weights(name, kernel=numbers(*shape)) for name, shape in shapes.items()}
    network = opened(model, arrays, "2.12.0").network
    result = pipeline.prune(network, Request(framework=Framework.KERAS, percent=0.5), lambda _: None)
    assert result.plan.kept.keys() == {"after.kernel", "last.kernel"}
    (whole,) = (group for group in result.groups if "wide" in group.layers)
    assert whole.removed == 0
    assert "hard-coded 16" in str(whole.reason)

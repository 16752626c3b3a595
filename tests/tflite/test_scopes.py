"""Which layer an operator of a `.tflite` file comes from. The names are those of real files."""

from __future__ import annotations

import pytest

from coppice.formats.tflite.scopes import Scopes
from coppice.keras_layers import Generation
from coppice.tracing.network import Layer


def scopes(generation: Generation, *layers: tuple[str, str]) -> Scopes:
    """Of layers with names and kinds."""
    return Scopes(
        generation=generation, layers=[Layer(name=name, path=f"net.{name}", kind=kind) for name, kind in layers]
    )


@pytest.mark.parametrize(
    ("generation", "named", "layer"),
    [
        (Generation.KERAS_2, "model/conv_1/Conv2D;model/conv_1/Relu;model/conv_1/BiasAdd", "conv_1"),
        (Generation.KERAS_2, "model/conv/Conv2D;model/conv/Relu", "conv"),
        # Keras 3 numbers every scope, so that one layer's scope is another's name.
        (Generation.KERAS_3, "sequential_1/conv_1/convolution;sequential_1/conv_1/Relu", "conv"),
        (Generation.KERAS_3, "sequential_1/conv_1_1/convolution", "conv_1"),
    ],
)
def test_the_innermost_layer_that_is_named_is_it(generation: Generation, named: str, layer: str) -> None:
    assert scopes(generation, ("conv", "Conv2D"), ("conv_1", "Conv2D")).layer_of(named) == layer


def test_what_has_no_scope_comes_from_the_layers_that_loop() -> None:
    model = scopes(Generation.KERAS_2, ("conv", "Conv2D"), ("lstm", "LSTM"), ("gru", "GRU"))
    assert model.layer_of("arith.constant2;tfl.unidirectional_sequence_lstm") == "lstm, gru"
    assert scopes(Generation.KERAS_2, ("conv", "Conv2D")).layer_of("arith.constant2;x") == "arith.constant2"


def test_stored_tensors_are_told_by_their_layers() -> None:
    model = scopes(Generation.KERAS_3, ("conv", "Conv2D"))
    assert model.by_layer({"net.conv.kernel": "as asked", "net.other.kernel": "why"}) == {
        "conv": "as asked",
        "net.other": "why",
    }
    assert model.words(["conv"])[0] == "conv_1"

"""What works along time: sums written out in numpy, and cuts that reach the hidden width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from coppice import pipeline
from coppice.formats.keras.network import OpenModel, open_model
from coppice.keras_layers import KerasNetwork
from coppice.records.frameworks import Framework
from coppice.records.request import Request
from tests.keras.builders import (
    KERAS_3,
    Entry,
    called,
    functional,
    input_layer,
    layer,
    numbers,
    opened,
    sequential,
    weights,
)

UNITS, WIDTH = 4, 3


def lstm(name: str, into: int, units: int, **config: Any) -> tuple[Entry, dict[str, Any]]:
    entry = layer("LSTM", name, units=units, activation="tanh", recurrent_activation="sigmoid", use_bias=True, **config)
    arrays = {"kernel": numbers(into, 4 * units), "recurrent_kernel": numbers(units, 4 * units)}
    return entry, {f"{name}/lstm_cell/{key}:0": value for key, value in {**arrays, "bias": numbers(4 * units)}.items()}


def dense(name: str, into: int, units: int) -> tuple[Entry, dict[str, Any]]:
    entry = layer("Dense", name, units=units, activation="linear", use_bias=True)
    return entry, weights(name, kernel=numbers(into, units), bias=numbers(units))


def wrapped(kind: str, name: str, inner: Entry, **config: Any) -> Entry:
    return layer(kind, name, layer={"class_name": inner["class_name"], "config": inner["config"]}, **config)


def both_ways(name: str, into: int, units: int, **config: Any) -> tuple[Entry, dict[str, Any]]:
    """A Bidirectional LSTM; its arrays come forward first."""
    inner, ahead = lstm("lstm", into, units, return_sequences=True)
    arrays = {f"forward_{key}": value for key, value in ahead.items()}
    arrays |= {f"backward_{key}": value[..., ::-1].copy() for key, value in ahead.items()}
    return wrapped("Bidirectional", name, inner, merge_mode="concat", **config), arrays


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = 1 / (1 + np.exp(-x))
    return result


def written_out(x: NDArray[Any], kernel: NDArray[Any], recurrent: NDArray[Any], bias: NDArray[Any]) -> NDArray[Any]:
    """An LSTM's outputs at every step, one gate after the other."""
    units = recurrent.shape[0]
    h = c = np.zeros((len(x), units))
    outputs = []
    for time in range(x.shape[1]):
        z = x[:, time] @ kernel + h @ recurrent + bias
        into, forget, memory, out = (z[:, gate * units : (gate + 1) * units] for gate in range(4))
        c = sigmoid(forget) * c + sigmoid(into) * np.tanh(memory)
        h = sigmoid(out) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def computed(model: OpenModel, x: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        result: NDArray[Any] = model.network.module(torch.from_numpy(x)).numpy()
    return result


def cut(model: OpenModel, percent: float = 0.5) -> tuple[OpenModel, KerasNetwork]:
    """The pruned module's own file, opened anew, and that module."""
    pruned = pipeline.prune(model.network, Request(framework=Framework.KERAS, percent=percent), lambda _: None)
    assert isinstance(pruned.module, KerasNetwork)
    again = open_model(model.edited(pruned.module))
    with torch.no_grad():
        inputs = again.network.inputs
        torch.testing.assert_close(again.network.module(*inputs), pruned.module(*inputs))
    return again, pruned.module


def configs(model: OpenModel) -> dict[str, Any]:
    return {entry["config"]["name"]: entry["config"] for entry in model.file.config["config"]["layers"]}


def test_the_gates_of_an_lstm_come_in_keras_order() -> None:
    entry, arrays = lstm("lstm", WIDTH, UNITS, return_sequences=True)
    x = numbers(2, 5, WIDTH)
    model = opened(sequential([input_layer([5, WIDTH]), entry]), {"lstm": arrays})
    np.testing.assert_allclose(computed(model, x), written_out(x, *arrays.values()), atol=1e-5)


def test_a_masked_step_changes_nothing() -> None:
    entry, arrays = lstm("lstm", WIDTH, UNITS)
    x = numbers(2, 5, WIDTH)
    x[:, 3] = 9.0
    masking = layer("Masking", "masking", mask_value=9.0)
    model = opened(sequential([input_layer([5, WIDTH]), masking, entry]), {"lstm": arrays})
    without = written_out(np.delete(x, 3, axis=1), *arrays.values())[:, -1]
    np.testing.assert_allclose(computed(model, x), without, atol=1e-5)


def test_a_layer_that_knows_no_masks_ends_one() -> None:
    entry, arrays = lstm("lstm", WIDTH, UNITS)
    x = numbers(2, 5, WIDTH)
    x[:, 3] = 9.0
    middle = layer("ZeroPadding1D", "padding", padding=0)
    masking = layer("Masking", "masking", mask_value=9.0)
    model = opened(sequential([input_layer([5, WIDTH]), masking, middle, entry]), {"lstm": arrays})
    x[:, 3] = 0.0
    np.testing.assert_allclose(computed(model, x), written_out(x, *arrays.values())[:, -1], atol=1e-5)


def test_the_hidden_width_is_cut_through_layers_on_top_of_each_other() -> None:
    (first, one), (second, two) = lstm("first", WIDTH, 8, return_sequences=True), lstm("second", 8, 6)
    last, three = dense("last", 6, 2)
    model = opened(
        sequential([input_layer([5, WIDTH]), first, second, last]), {"first": one, "second": two, "last": three}
    )
    again, _ = cut(model)
    assert [configs(again)[name]["units"] for name in ("first", "second", "last")] == [4, 3, 2]


def test_one_number_of_units_serves_both_directions() -> None:
    entry, arrays = both_ways("both", WIDTH, 8)
    last, after = dense("last", 16, 2)
    again, pruned = cut(opened(sequential([input_layer([5, WIDTH]), entry, last]), {"both": arrays, "last": after}))
    assert configs(again)["both"]["layer"]["config"]["units"] == 4
    assert pruned.get_parameter("both.forward_layer.recurrent_kernel").shape == (4, 16)
    assert pruned.get_parameter("both.backward_layer.recurrent_kernel").shape == (4, 16)


def as_cudnn_keeps_it(kernel: NDArray[Any], recurrent: NDArray[Any], bias: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """What Keras' own `_convert_rnn_weights` makes of an LSTM's arrays for the other layer, gate by gate."""
    gates = [block.T.reshape(block.shape, order="C") for block in np.hsplit(kernel, 4)]
    return np.hstack(gates), np.hstack([block.T for block in np.hsplit(recurrent, 4)]), np.tile(0.5 * bias, 2)


def test_an_lstm_laid_out_for_a_graphics_library_is_that_lstm_and_is_cut_like_it() -> None:
    _, plain = lstm("lstm", WIDTH, 8)
    arrays = as_cudnn_keeps_it(*plain.values())
    entry = layer("CuDNNLSTM", "fast", units=8, return_sequences=True)
    last, after = dense("last", 8, 8)
    x = numbers(2, 5, WIDTH)
    stored = {
        f"fast/{name}:0": value for name, value in zip(("kernel", "recurrent_kernel", "bias"), arrays, strict=True)
    }
    model = sequential([input_layer([5, WIDTH]), entry, last])
    before = opened(model, {"fast": stored, "last": after})
    sequence = written_out(x, *plain.values()) @ after["last/kernel:0"] + after["last/bias:0"]
    np.testing.assert_allclose(computed(before, x), sequence, atol=1e-5)
    again, _ = cut(before)
    assert configs(again)["fast"]["units"] == 4
    kept = {array.name: array.value.shape for held in again.file.layers for array in held.arrays}
    assert (kept["fast/kernel:0"], kept["fast/recurrent_kernel:0"], kept["fast/bias:0"]) == ((3, 16), (4, 16), (32,))


def test_steps_that_become_channels_are_cut_with_them() -> None:
    """Attention as users wrote it: weights of steps, repeated to as many channels as they multiply."""
    (h, one), (score, two), (last, three) = dense("h", WIDTH, 8), dense("score", 8, 1), dense("last", 8, 2)
    flat, repeat = layer("Flatten", "flat"), layer("RepeatVector", "repeat", n=8)
    turn, product = layer("Permute", "turn", dims=[2, 1]), layer("Multiply", "product")
    chain = [called(h, "image"), called(score, "h"), called(flat, "score"), called(repeat, "flat")]
    chain += [called(turn, "repeat"), called(product, "h", "turn"), called(last, "product")]
    model = functional([input_layer([5, WIDTH]), *chain], "last")
    again, _ = cut(opened(model, {"h": one, "score": two, "last": three}))
    assert (configs(again)["h"]["units"], configs(again)["repeat"]["n"]) == (4, 4)


def test_a_window_over_a_whole_embedding_narrows_with_it() -> None:
    """The convolution of sentences of 2014: words as rows of an image, and a window as wide as the embedding."""
    embedded = layer("Embedding", "words", input_dim=20, output_dim=8)
    image = layer("Reshape", "image", target_shape=[5, 8, 1])
    window = layer("Conv2D", "window", filters=4, kernel_size=[3, 8], strides=[1, 1], padding="valid", use_bias=False)
    last, after = dense("last", 4, 2)
    model = sequential([input_layer([5], "tokens"), embedded, image, window, last])
    arrays = {"words": weights("words", embeddings=numbers(20, 8)), "last": after}
    again, _ = cut(opened(model, {**arrays, "window": weights("window", kernel=numbers(3, 8, 1, 4))}))
    written = configs(again)
    assert (written["words"]["output_dim"], written["image"]["target_shape"]) == (4, [5, 4, 1])
    assert (written["window"]["kernel_size"], written["window"]["filters"]) == ([3, 4], 2)


def test_what_is_wrapped_for_every_step_is_cut_like_any_layer() -> None:
    inner, arrays = dense("inner", WIDTH, 8)
    last, after = dense("last", 8, 2)
    model = sequential([input_layer([5, WIDTH]), wrapped("TimeDistributed", "steps", inner), last])
    again, _ = cut(opened(model, {"steps": arrays, "last": after}))
    assert configs(again)["steps"]["layer"]["config"]["units"] == 4


@pytest.mark.parametrize("version", ["2.12.0", KERAS_3])
def test_narrower_heads_give_the_same_scores(version: str) -> None:
    """The file's key_dim divides the scores, so the queries that stay must grow by the root of what it loses."""
    config = {"num_heads": 2, "key_dim": 8, "value_dim": 6, "use_bias": True, "output_shape": None}
    heads = layer("MultiHeadAttention", "heads", **config)
    shapes = {"query": (4, 2, 8), "key": (4, 2, 8), "value": (4, 2, 6)}
    arrays = {f"heads/{name}/kernel:0": numbers(*shape) for name, shape in shapes.items()}
    arrays = {
        key: value
        for name, shape in shapes.items()
        for key, value in ((f"heads/{name}/kernel:0", numbers(*shape)), (f"heads/{name}/bias:0", numbers(*shape[1:])))
    }
    arrays |= {"heads/attention_output/kernel:0": numbers(2, 6, 4), "heads/attention_output/bias:0": numbers(4)}
    inputs = input_layer([5, 4])
    call = {**heads, "inbound_nodes": [[["image", 0, 0, {"value": ["image", 0, 0]}]]]}
    model = {
        "class_name": "Functional",
        "name": "m",
        "config": {
            "name": "m",
            "layers": [inputs, call],
            "input_layers": [["image", 0, 0]],
            "output_layers": [["heads", 0, 0]],
        },
    }
    before = opened(model, {"heads": arrays}, version)
    for percent, widths in ((0.75, (2, 2)), (0.5, (4, 3))):  # the root of a half is no number that float32 holds
        again, _ = cut(before, percent=percent)
        after = configs(again)["heads"]
        assert (after["num_heads"], after["key_dim"], after["value_dim"]) == (2, *widths)


def test_einsum_is_the_product_that_it_says() -> None:
    kernel, x = numbers(3, 2, 4), numbers(2, 5, 3)
    entry = layer("EinsumDense", "it", equation="abc,cde->abde", output_shape=[None, 2, 4], bias_axes=None)
    model = opened(sequential([input_layer([5, 3]), entry]), {"it": weights("it", kernel=kernel)})
    np.testing.assert_allclose(computed(model, x), np.einsum("abc,cde->abde", x, kernel), atol=1e-5)


def test_the_numbers_of_a_reshape_between_layers_follow() -> None:
    (first, one), (last, two) = dense("first", WIDTH, 8), dense("last", 40, 2)
    nodes = [[["image", 0, 0, {}]]]
    reshape = {
        **layer("TFOpLambda", "flat", function="reshape"),
        "inbound_nodes": [["first", 0, 0, {"shape": [-1, 40]}]],
    }
    layers = [
        input_layer([5, WIDTH]),
        {**first, "inbound_nodes": nodes},
        reshape,
        {**last, "inbound_nodes": [[["flat", 0, 0, {}]]]},
    ]
    model = {
        "class_name": "Functional",
        "name": "m",
        "config": {"name": "m", "layers": layers, "input_layers": [["image", 0, 0]], "output_layers": [["last", 0, 0]]},
    }
    again, _ = cut(opened(model, {"first": one, "last": two}, "2.12.0"))
    written = again.file.config["config"]["layers"][2]["inbound_nodes"]
    assert written == [["first", 0, 0, {"shape": [-1, 20]}]]

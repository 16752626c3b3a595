"""What layers compute, against sums written out by hand or in plain numpy loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from coppice.keras_layers import KerasNetwork
from tests.keras.builders import KERAS_2, KERAS_3, Arrays, input_layer, layer, numbers, opened, sequential, weights


def network(
    kind: str, shape: tuple[int, ...], arrays: Arrays | None = None, *, version: str = KERAS_2, **config: Any
) -> KerasNetwork:
    """A model of one layer."""
    held = {"it": weights("it", **(arrays or {}))}
    module = opened(sequential([input_layer(shape), layer(kind, "it", **config)]), held, version).network.module
    assert isinstance(module, KerasNetwork)
    return module


def computed(module: KerasNetwork, x: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        result: NDArray[Any] = module(torch.from_numpy(x)).numpy()
    return result


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """TensorFlow's rule: as much as ceil(size / stride) windows need, the odd one at the end."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def naive_convolution(x: NDArray[Any], kernel: NDArray[Any], stride: int) -> NDArray[Any]:
    rows, columns = kernel.shape[:2]
    padded = np.pad(
        x, ((0, 0), same_padding(x.shape[1], rows, stride), same_padding(x.shape[2], columns, stride), (0, 0))
    )
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    result = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            window = padded[:, i * stride : i * stride + rows, j * stride : j * stride + columns]
            result[:, i, j] = np.einsum("nijc,ijco->no", window, kernel)
    return result


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_same_padding_puts_the_odd_position_at_the_end(size: int, stride: int) -> None:
    kernel, x = numbers(size, size, 3, 4), numbers(2, 7, 6, 3)
    module = network("Conv2D", (7, 6, 3), {"kernel": kernel}, padding="same", strides=stride, use_bias=False)
    np.testing.assert_allclose(computed(module, x), naive_convolution(x, kernel, stride), atol=1e-5)


def test_an_average_does_not_count_padding() -> None:
    module = network("AveragePooling2D", (2, 2, 1), pool_size=[3, 3], strides=[2, 2], padding="same")
    x = np.array([[1, 2], [3, 6]], dtype=np.float32).reshape(1, 2, 2, 1)
    # One window, padded at its end by one row and one column: four real positions.
    assert computed(module, x).tolist() == [[[[3.0]]]]


def test_a_maximum_is_not_won_by_padding() -> None:
    module = network("MaxPooling2D", (2, 2, 1), pool_size=[3, 3], strides=[2, 2], padding="same")
    x = np.array([[-1, -2], [-3, -6]], dtype=np.float32).reshape(1, 2, 2, 1)
    assert computed(module, x).tolist() == [[[[-1.0]]]]


@pytest.mark.parametrize(("version", "at_one"), [("2.2.4", 0.7), (KERAS_2, 0.7), (KERAS_3, 4 / 6)])
def test_hard_sigmoid_is_the_one_of_the_dialect(version: str, at_one: float) -> None:
    module = network("Activation", (3,), version=version, activation="hard_sigmoid")
    x = np.array([[-3.0, 1.0, 3.0]], dtype=np.float32)
    np.testing.assert_allclose(computed(module, x), [[0.0, at_one, 1.0]], atol=1e-6)


@pytest.mark.parametrize("config", [{"alpha": 0.25}, {"negative_slope": 0.25}])
def test_a_leaky_slope_has_two_names(config: dict[str, Any]) -> None:
    module = network("LeakyReLU", (2,), **config)
    assert computed(module, np.array([[-4.0, 2.0]], dtype=np.float32)).tolist() == [[-1.0, 2.0]]


def test_relu_has_a_ceiling_a_slope_and_a_threshold() -> None:
    module = network("ReLU", (4,), max_value=6.0, negative_slope=0.5, threshold=1.0)
    x = np.array([[-1.0, 0.5, 3.0, 9.0]], dtype=np.float32)
    assert computed(module, x).tolist() == [[-1.0, -0.25, 3.0, 6.0]]


def test_batch_normalization_uses_its_own_epsilon() -> None:
    arrays = {name: np.full(1, value, np.float32) for name, value in {"gamma": 2, "beta": 1, "moving_mean": 3}.items()}
    arrays["moving_variance"] = np.full(1, 0.0, np.float32)
    module = network("BatchNormalization", (1,), arrays, axis=[1], epsilon=0.25, momentum=0.9)
    assert computed(module, np.array([[5.0]], dtype=np.float32)).tolist() == [[2 * (5 - 3) / 0.5 + 1]]


def test_training_moves_batch_statistics_by_keras_momentum() -> None:
    ones, zeros = np.ones(1, np.float32), np.zeros(1, np.float32)
    arrays = {"gamma": ones, "beta": zeros, "moving_mean": zeros, "moving_variance": ones}
    module = network("BatchNormalization", (1,), arrays, axis=[1], epsilon=1e-3, momentum=0.9)
    module.train()
    module(torch.tensor([[1.0], [3.0]]))
    # 0.9 of the old mean, 0.1 of the batch's.
    assert module.get_parameter("it.moving_mean").item() == pytest.approx(0.2)


def test_a_frozen_batch_normalization_stays_in_inference_mode() -> None:
    ones, zeros = np.ones(1, np.float32), np.zeros(1, np.float32)
    arrays = {"gamma": ones, "beta": zeros, "moving_mean": zeros, "moving_variance": ones}
    module = network("BatchNormalization", (1,), arrays, axis=[1], epsilon=1e-3, momentum=0.9, trainable=False)
    module.train()
    module(torch.tensor([[1.0], [3.0]]))
    assert module.get_parameter("it.moving_mean").item() == 0.0
    assert module.get_parameter("it.moving_variance").item() == 1.0


def test_dropout_acts_in_training_only() -> None:
    module = network("Dropout", (1000,), rate=0.5)
    x = torch.ones(1, 1000)
    assert torch.equal(module(x), x)
    torch.manual_seed(0)
    assert 0.3 < (module.train()(x) == 0).float().mean().item() < 0.7


def test_spatial_dropout_drops_whole_channels() -> None:
    module = network("SpatialDropout2D", (4, 4, 64), rate=0.5).train()
    torch.manual_seed(0)
    kept = module(torch.ones(1, 4, 4, 64)) != 0
    assert torch.equal(kept.all(dim=(1, 2)), kept.any(dim=(1, 2)))


def test_channels_first_flattens_with_channels_last() -> None:
    x = numbers(2, 3, 4, 5)
    module = network("Flatten", (3, 4, 5), data_format="channels_first")
    np.testing.assert_array_equal(computed(module, x), x.transpose(0, 2, 3, 1).reshape(2, -1))


def test_a_depthwise_multiplier_numbers_filters_by_channel_first() -> None:
    kernel, x = numbers(1, 1, 3, 2), numbers(2, 4, 4, 3)
    module = network("DepthwiseConv2D", (4, 4, 3), {"depthwise_kernel": kernel}, use_bias=False, depth_multiplier=2)
    expected = np.einsum("nhwc,cm->nhwcm", x, kernel[0, 0]).reshape(2, 4, 4, 6)
    np.testing.assert_allclose(computed(module, x), expected, atol=1e-6)

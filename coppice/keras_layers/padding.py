"""Where a window falls: Keras' paddings in numbers of positions, and the order of a tensor's axes.

Keras' "same" depends on the input's size and is asymmetric: the odd position goes to the end.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import whole
from coppice.keras_layers.layer import KerasLayer


class Window(NamedTuple):
    """The geometry of a sliding window, one number per spatial axis."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Positions from the first to the last that the window touches."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.size, self.dilation, strict=True))


def window_of(layer: KerasLayer, size: tuple[int, ...]) -> Window:
    """The window of a convolution or a pooling; pooling strides default to its size."""
    rank = len(size)
    strides = size if layer.config.get("strides") is None else whole(layer.config, "strides", rank)
    return Window(size, strides, whole(layer.config, "dilation_rate", rank))


def is_channels_first(layer: KerasLayer) -> bool:
    """Whether channels come right after the batch; last is Keras' own default."""
    return layer.config.get("data_format") == "channels_first"


def to_channels_first(layer: KerasLayer, x: Tensor) -> Tensor:
    """`x` in the order that torch's convolutions take."""
    # Axes are counted from the front: torch's ONNX exporter writes a negative one down as it is.
    return x if is_channels_first(layer) else x.movedim(x.dim() - 1, 1)


def to_own_order(layer: KerasLayer, x: Tensor) -> Tensor:
    """The reverse of `to_channels_first`."""
    return x if is_channels_first(layer) else x.movedim(1, x.dim() - 1)


def amounts(layer: KerasLayer, window: Window, spatial: tuple[int, ...]) -> list[tuple[int, int]]:
    """How many positions to add before and after each spatial axis."""
    padding = layer.config.get("padding", "valid")
    if padding == "valid":
        return [(0, 0)] * len(spatial)
    if padding == "causal":
        return [(extent - 1, 0) for extent in window.extent]
    if padding != "same":
        raise UnsupportedLayer(
            f"layer {layer.layer_name!r}: padding={padding!r} is none of valid, same, causal.", field=layer.layer_name
        )
    return same_amounts(window, spatial)


def same_amounts(window: Window, spatial: tuple[int, ...]) -> list[tuple[int, int]]:
    """What keeps ceil(size / stride) windows on each axis."""
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, stride, extent in zip(spatial, window.strides, window.extent, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def split_padding(x: Tensor, around: list[tuple[int, int]], value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
    """Pad a channels-first tensor here where the amounts are asymmetric; else leave it to the torch operation.

    Gives the tensor and the padding that is still to be passed to the operation.
    """
    if all(before == after for before, after in around):
        return x, tuple(before for before, _ in around)
    flat = [amount for pair in reversed(around) for amount in pair]
    return F.pad(x, flat, value=value), (0,) * len(around)

"""Where the costs of a model are, against sums done by hand."""

from __future__ import annotations

import torch
from torch import nn

from coppice.steps.layers import by_layer


def net(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 16, 3))


def test_each_layer_has_its_parameters_and_the_products_at_its_weights() -> None:
    inputs = (torch.randn(1, 1, 6, 6),)
    found = by_layer(net(6), net(4), inputs, lambda tensor: "layer" + tensor.partition(".")[0])
    assert [entry.name for entry in found] == ["layer0", "layer3"]
    first, last = found
    assert (first.before.parameters, first.before.macs) == (54 + 6, 54 * 16)
    assert (first.after.parameters, first.after.macs) == (36 + 4, 36 * 16)
    assert (last.before.parameters, last.before.macs) == (96 * 3 + 3, 96 * 3)
    assert (last.after.parameters, last.after.macs) == (64 * 3 + 3, 64 * 3)

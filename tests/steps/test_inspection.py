"""What a group holds of its model, against sums done by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coppice


class Small(nn.Module):
    """54 + 6 parameters, then 18 + 3; 54 * 36 multiply-accumulates on a picture of 8x8, then 18."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        return out


def test_a_group_holds_its_filters_their_biases_and_what_reads_them() -> None:
    found = coppice.inspect(Small(), example_inputs=torch.randn(2, 1, 8, 8))
    (group,) = found.groups
    assert (found.parameters, found.macs) == (81, 54 * 36 + 18)
    assert (group.name, group.channels, group.removed) == ("conv", 6, 3)
    assert group.parameters == pytest.approx((54 + 6 + 18) / 81)  # all but the biases of the head
    assert group.macs == pytest.approx(1.0)


def test_a_weight_between_two_groups_counts_in_both() -> None:
    chain = nn.Sequential(nn.Linear(4, 10, bias=False), nn.Linear(10, 20, bias=False), nn.Linear(20, 5, bias=False))
    found = coppice.inspect(chain, example_inputs=torch.randn(2, 4))
    total = 40 + 200 + 100
    assert [group.parameters for group in found.groups] == pytest.approx([240 / total, 300 / total])
    assert [group.macs for group in found.groups] == pytest.approx([240 / total, 300 / total])


def test_the_table_names_what_could_go_and_what_stays_and_why() -> None:
    model = Small()
    found = coppice.inspect(model, example_inputs=torch.randn(2, 1, 8, 8), omit=["conv"])
    can, _, stays = found.summary.partition("\n\n")
    assert "omitted by the request" in can
    assert "conv" in can
    assert "96.3%" in can
    assert "head" in stays
    assert "output of the model" in stays
    assert model.conv.out_channels == 6


class Halves(nn.Module):
    """One layer whose halves go different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.left, self.right = nn.Linear(4, 12), nn.Linear(8, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.both(x).split([8, 4], dim=1)
        out: torch.Tensor = self.left(left) + self.right(right)
        return out


def test_groups_that_share_a_layer_are_told_apart_by_their_positions() -> None:
    found = coppice.inspect(Halves(), example_inputs=torch.randn(2, 4))
    assert [group.name for group in found.groups] == ["both[0:8]", "both[8:12]"]
    assert [group.layers for group in found.groups] == [("both",), ("both",)]

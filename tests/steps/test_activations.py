"""The peak of what lives in a forward pass, against sums done by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coppice.steps.activations import peak

ROW = torch.zeros(1, 100)  # 400 bytes


def test_of_a_chain_it_is_the_input_and_the_largest_neighbours() -> None:
    chain = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 20))
    assert peak(chain.eval(), (ROW,)) == 400 + 1200 + 1200  # the input, and both sides of the ReLU


def test_in_place_takes_nothing() -> None:
    chain = nn.Sequential(nn.Linear(100, 300), nn.ReLU(inplace=True), nn.Linear(300, 20))
    assert peak(chain.eval(), (ROW,)) == 400 + 1200 + 80


class Skipping(nn.Module):
    """Keeps its input for the end."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        y = torch.cat([y, y], 1)
        y = y.sum(1, keepdim=True)
        return x + y


def test_what_is_kept_for_later_counts_until_it_is_used() -> None:
    assert peak(Skipping(), (ROW,)) == 400 + 400 + 800  # x, y, and both side by side


def test_views_and_stored_tensors_count_once_and_never() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain = torch.ones(100, 100)

        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(100, 1).expand(100, 100).T * self.plain.T[:1, :1]

    assert peak(Table(), (ROW,)) == 400 + 40000


def test_a_deeper_chain_needs_no_more() -> None:
    layers = [part for _ in range(5) for part in (nn.Linear(100, 100), nn.Tanh())]
    assert peak(nn.Sequential(*layers[:2]), (ROW,)) == peak(nn.Sequential(*layers), (ROW,)) == 3 * 400

"""Measuring: the multiply-accumulates of a model, whatever its modules are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coppice.steps.macs import count_macs


class Positions(nn.Module):
    """Gives a parameter to a module, as DeBERTa does with its embeddings of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions, self.a = nn.Parameter(torch.randn(3, 4)), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) @ self.a(self.positions).T  # type: ignore[no-any-return]


def test_a_module_that_is_given_a_parameter_is_counted() -> None:
    assert count_macs(Positions(), (torch.randn(2, 4),)) == 2 * 4 * 8 + 3 * 4 * 8 + 2 * 8 * 3

"""The layer table: the document's own, letter for letter, and rows that sum to the total."""

from __future__ import annotations

import re

import torch
from torch import nn

from coppice.steps.summary import summary
from coppice.tracing.network import Layer, Network
from tests.documents.printed import PRINTED_TABLE
from tests.formats.models import NET, built


def table(module: nn.Module, *shape: int, kinds: dict[str, str] | None = None) -> str:
    layers = tuple(
        Layer(name=path, path=path, kind=(kinds or {}).get(path, type(part).__name__))
        for path, part in module.named_modules()
        if path
    )
    network = Network(module=module.eval(), inputs=(torch.randn(2, *shape),), layers=layers)
    return summary(network, module)


def rows(text: str) -> list[list[str]]:
    lines = text.split("=" * 64 + "\n")[1].splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def counted(text: str) -> int:
    return sum(int(row[-1].replace(",", "")) for row in rows(text))


def total(text: str) -> int:
    return int(text.split("Total params: ")[1].split("\n")[0].replace(",", ""))


def test_the_documents_table_is_printed_letter_for_letter() -> None:
    halved = NET.replace("(1, 32, 3", "(1, 16, 3").replace("(32, 64, 3", "(16, 32, 3").replace("9216", "4608")
    assert table(built(halved, "Net"), 1, 28, 28) == PRINTED_TABLE


class Mixed(nn.Module):
    """A bare parameter, a layer that runs twice, one that is used without being called, one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.twice = nn.Linear(6, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.never = nn.Linear(100, 100)
        self.head = nn.Sequential(nn.LSTM(6, 5, batch_first=True))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.twice(self.twice(x * self.scale))
        x, _ = self.attention(x, x, x)
        x, _ = self.head(x)
        return x, x.mean(1)


def test_rows_sum_to_the_total_whatever_the_model_does() -> None:
    module = Mixed()
    text = table(module, 7, 6)
    assert counted(text) == total(text) == sum(parameter.numel() for parameter in module.parameters())


def test_a_layer_that_runs_twice_has_two_rows_and_counts_once() -> None:
    linear = [row for row in rows(table(Mixed(), 7, 6)) if row[0].startswith("Linear")]
    assert linear == [["Linear-1", "[-1, 7, 6]", "42"], ["Linear-2", "[-1, 7, 6]", "0"]]


def test_frozen_parameters_are_not_trainable() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    module[0].requires_grad_(False)
    text = table(module, 3)
    assert "Trainable params: 25\n" in text
    assert "Non-trainable params: 16\n" in text


def test_layers_are_shown_by_the_type_name_of_their_own_framework() -> None:
    text = table(nn.Sequential(nn.Linear(3, 4)), 3, kinds={"0": "Dense"})
    assert rows(text) == [["Dense-1", "[-1, 4]", "16"]]


def test_no_hook_is_left_in_the_model() -> None:
    module = nn.Sequential(nn.Linear(3, 4))
    table(module, 3)
    assert not module[0]._forward_hooks

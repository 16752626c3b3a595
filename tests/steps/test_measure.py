"""What models cost, against sums done by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coppice.records.report import Cost
from coppice.steps import measure as measuring
from coppice.steps.macs import count_macs
from coppice.steps.measure import disappointments, machine, measure
from coppice.tracing.network import Network


def network(module: nn.Module, *shape: int, dtype: torch.dtype = torch.float32) -> Network:
    return Network(module=module.eval(), inputs=(torch.randn(2, *shape, dtype=dtype),), layers=())


@pytest.mark.parametrize(
    ("module", "shape", "parameters", "macs"),
    [
        (nn.Linear(20, 30), (20,), 20 * 30 + 30, 20 * 30),
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10), 3 * 8 * 9 + 8, 3 * 8 * 9 * 100),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 10, 10), 8 * 9 + 8, 8 * 9 * 100),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 4 * 6 * 4 + 6, 4 * 6 * 4 * 25),
    ],
    ids=["linear", "convolution", "depthwise", "transposed"],
)
def test_parameters_and_macs_are_those_of_one_sample(
    module: nn.Module, shape: tuple[int, ...], parameters: int, macs: int
) -> None:
    before, after = measure(network(module, *shape), module)
    assert (before.parameters, before.macs) == (parameters, macs)
    assert (after.parameters, after.macs) == (parameters, macs)


STEPS = torch.zeros(2, 5, 16)


@pytest.mark.parametrize(
    ("module", "macs"),
    [
        (nn.LSTM(16, 8, batch_first=True), 5 * (16 * 32 + 8 * 32)),
        (nn.LSTM(16, 8, num_layers=2, bidirectional=True, batch_first=True), 2 * 2 * 5 * (16 * 32 + 8 * 32)),
        (nn.GRU(16, 8, batch_first=True), 5 * (16 * 24 + 8 * 24)),
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 5 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 5 * 5 * 16),
    ],
    ids=["lstm", "both ways", "gru", "attention"],
)
def test_no_fused_kernel_hides_products(module: nn.Module, macs: int) -> None:
    assert count_macs(module.eval(), (STEPS[:1],)) == macs


def test_the_peak_of_activations_is_that_of_one_sample() -> None:
    before, after = measure(network(nn.Linear(20, 30), 20), nn.Linear(20, 5))
    assert (before.activation_bytes, after.activation_bytes) == (4 * (20 + 30), 4 * (20 + 5))


DEAR = Cost(parameters=10, bytes=40, macs=10, activation_bytes=80, file_bytes=99, latency_ms=1.0, latency_spread_ms=0.1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"latency_ms": 0.98}, ["not faster"]),
        ({"latency_ms": 2.0}, ["not faster"]),
        ({"latency_ms": 0.8, "latency_spread_ms": 0.3}, ["can't be told"]),
        ({"latency_ms": None}, []),
        ({"activation_bytes": 80}, ["activation memory did not shrink: 80 bytes, before 80"]),
        ({"file_bytes": 1234}, ["file did not shrink: 1,234 bytes, before 99"]),
    ],
)
def test_what_was_not_won_is_said(change: dict[str, object], told: list[str]) -> None:
    won = {"parameters": 5, "activation_bytes": 40, "file_bytes": 50, "latency_ms": 0.5, "latency_spread_ms": 0.1}
    found = disappointments(DEAR, DEAR.model_copy(update={**won, **change}))
    assert [text in sentence for text, sentence in zip(told, found, strict=True)] == [True] * len(told)


def test_nothing_is_expected_of_a_cut_of_nothing() -> None:
    assert disappointments(DEAR, DEAR) == ()


def test_the_machine_has_a_name_and_one_thread() -> None:
    found = machine()
    assert found.processor
    assert found.threads == 1


def test_a_shared_tensor_counts_once() -> None:
    module = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    module[1].weight = module[0].weight
    before, _ = measure(network(module, 10), module)
    assert (before.parameters, before.bytes) == (100, 400)


def test_bytes_count_buffers_and_the_type_of_the_numbers() -> None:
    module = nn.BatchNorm1d(10).double()
    before, _ = measure(network(module, 10, dtype=torch.float64), module)
    assert before.bytes == 4 * 10 * 8 + 8  # weight, bias, mean, variance, and the counter


def test_a_larger_model_is_measured_to_be_slower() -> None:
    dense, pruned = nn.Linear(2000, 2000).eval(), nn.Linear(2000, 100).eval()
    before, after = measure(network(dense, 2000), pruned)
    assert before.latency_ms is not None
    assert after.latency_ms is not None
    assert before.latency_ms > after.latency_ms > 0


class Slow(nn.Module):
    """A model that takes longer than the whole budget."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x


def test_a_model_slower_than_the_budget_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "BUDGET_SECONDS", 0.0)
    module = Slow()
    before, _ = measure(network(module, 3), module)
    assert module.calls == 6  # as both models: once timed, once counted, once weighed
    assert before.latency_ms is not None


def test_threads_are_as_before() -> None:
    threads = torch.get_num_threads()
    measure(network(nn.Linear(2, 2), 2), nn.Linear(2, 2))
    assert torch.get_num_threads() == threads

"""measure: what a model costs to keep and to run, before and after the cut.

Parameters and bytes are counted, multiply-accumulates are counted by torch's flop counter in one forward pass, latency
is measured: the two models by turns on one sample and one thread, so that a busy machine slows both alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from coppice.records.report import Cost
from coppice.tracing.leftovers import no_leftovers
from coppice.tracing.network import Network

Inputs = tuple[torch.Tensor, ...]

#: All timed runs together; a model that is slower than this runs once.
BUDGET_SECONDS = 1.0
#: More pairs than this make the median no steadier.
MAX_PAIRS = 200


def measure(before: Network, pruned: nn.Module) -> tuple[Cost, Cost]:
    """The costs of the model as it was and as it is."""
    sample = before.sample
    models = (before.module, pruned)
    # The pruned model is given away after this: the activations of a random input are no part of it.
    with no_leftovers(before.module), no_leftovers(pruned):
        times = _paired_times(models, sample)
        return _cost(before.module, sample, times[0]), _cost(pruned, sample, times[1])


def _cost(module: nn.Module, sample: Inputs, milliseconds: np.ndarray) -> Cost:
    parameters = list(module.parameters())  # a shared one is listed once, and is stored once
    low, middle, high = np.percentile(milliseconds, [25, 50, 75])
    return Cost(
        parameters=sum(entry.numel() for entry in parameters),
        bytes=sum(entry.numel() * entry.element_size() for entry in [*parameters, *module.buffers()]),
        macs=count_macs(module, sample),
        latency_ms=float(middle),
        latency_spread_ms=float(high - low),
    )


def count_macs(module: nn.Module, inputs: Inputs) -> int:
    """Multiply-accumulates of the convolutions, products and attention of one forward pass."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _AllInOne()
    with torch.no_grad(), counter:
        module(*inputs)
    return int(counter.get_total_flops()) // 2  # it counts a multiplication and an addition as two


class _AllInOne(ModuleTracker):
    """Tells no modules apart: their hooks fail, without gradients, on one that is given a parameter."""

    def __enter__(self) -> ModuleTracker:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to take away."""


def _paired_times(models: tuple[nn.Module, nn.Module], sample: Inputs) -> np.ndarray:
    """Milliseconds of every run, models x pairs."""
    with _one_thread(), torch.inference_mode():
        first = [_run(model, sample) for model in models]  # allocates; told apart only when there is time for more
        pairs: list[list[float]] = []
        end = time.perf_counter() + BUDGET_SECONDS - sum(first) / 1000
        while time.perf_counter() < end and len(pairs) < MAX_PAIRS:
            pairs.append([_run(model, sample) for model in models])
    return np.array(pairs or [first]).T


def _run(model: nn.Module, sample: Inputs) -> float:
    start = time.perf_counter()
    model(*sample)
    return (time.perf_counter() - start) * 1000


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

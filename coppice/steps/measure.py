"""measure: what a model costs to keep and to run, before and after the cut.

Parameters and bytes are counted. Multiply-accumulates are counted in one forward pass of one sample: those of
convolutions, matrix products, recurrent cells and attention, whatever kernel would compute them. Latency is measured:
the two models by turns on one sample and one thread, so that a busy machine slows both alike. What did not get better
is said aloud.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coppice.records.figures import significant
from coppice.records.report import Cost, Machine
from coppice.steps.activations import peak
from coppice.steps.macs import count_macs
from coppice.tracing.leftovers import no_leftovers
from coppice.tracing.network import Network

Inputs = tuple[torch.Tensor, ...]
Shape = tuple[int, ...]

#: All timed runs together; a model that is slower than this runs once.
BUDGET_SECONDS = 1.0
#: More pairs than this make the median no steadier.
MAX_PAIRS = 200
#: Models are run on as many.
THREADS = 1
#: A median above this part of what it was is no gain, whatever its spread.
FASTER = 0.97


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
        activation_bytes=peak(module, sample),
        latency_ms=float(middle),
        latency_spread_ms=float(high - low),
    )


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
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def machine() -> Machine:
    """What latency was measured on."""
    return Machine(processor=_processor(), threads=THREADS)


def _processor() -> str:
    """Its name, where the system tells it (Linux on x86 does), else its architecture."""
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def disappointments(before: Cost, after: Cost) -> tuple[str, ...]:
    """What a cut did not win though channels went, a sentence each."""
    if after.parameters >= before.parameters:
        return ()
    return tuple(_sentences(before, after))


def _sentences(before: Cost, after: Cost) -> Iterator[str]:
    if before.latency_ms is not None and after.latency_ms is not None:
        gain = before.latency_ms - after.latency_ms
        spread = max(before.latency_spread_ms or 0.0, after.latency_spread_ms or 0.0)
        times = f"{significant(after.latency_ms)} ms, the original {significant(before.latency_ms)} ms"
        if after.latency_ms >= FASTER * before.latency_ms:
            yield f"The pruned model is not faster here: one sample takes {times} (median, {THREADS} thread)."
        elif gain <= spread:
            yield (
                f"Whether the pruned model is faster can't be told here: one sample takes {times} (median, {THREADS} "
                f"thread), and the runs are spread over {significant(spread, 2)} ms."
            )
    for what, was, is_now in (
        ("The peak of activation memory", before.activation_bytes, after.activation_bytes),
        ("The model's file", before.file_bytes, after.file_bytes),
    ):
        if was is not None and is_now is not None and is_now >= was:
            yield f"{what} did not shrink: {is_now:,} bytes, before {was:,}."

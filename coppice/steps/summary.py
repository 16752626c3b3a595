"""summary: the layer table of a model, in the layout that the documents show (that of torchsummary 1.5.1).

A row for every layer that runs, in the order in which it first runs. Unlike in torchsummary, a parameter counts once
however often its layer runs, and one that belongs to no layer that runs counts for the layer around it: the rows sum to
the total.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from coppice.tracing.leftovers import no_leftovers
from coppice.tracing.network import Network

WIDTH = 64
MIB = 1024 * 1024
#: Containers that compute nothing themselves have no row.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True, slots=True)
class Run:
    """One call of one layer."""

    path: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: int


def summary(network: Network, module: nn.Module) -> str:
    """The table of `module`, whose layers are those of `network`, pruned or not."""
    kinds = {layer.path: layer.kind for layer in network.layers}
    runs = _runs(network, module, kinds)
    counts = _parameters(module, {run.path for run in runs})
    rows, seen = [], set()
    for number, run in enumerate(runs, start=1):
        owned = 0 if run.path in seen else counts[run.path]
        seen.add(run.path)
        rows.append(_row(f"{kinds[run.path]}-{number}", _shown(run.shapes), f"{owned:,}"))
    if counts[""]:
        rows.append(_row(type(module).__name__, "", f"{counts['']:,}"))
    return "\n".join([*_head(), *rows, *_totals(module), *_sizes(network, module, runs)]) + "\n"


def _head() -> list[str]:
    return ["-" * WIDTH, _row("Layer (type)", "Output Shape", "Param #"), "=" * WIDTH]


def _totals(module: nn.Module) -> list[str]:
    total = sum(entry.numel() for entry in module.parameters())
    trainable = sum(entry.numel() for entry in module.parameters() if entry.requires_grad)
    return [
        "=" * WIDTH,
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
    ]


def _sizes(network: Network, module: nn.Module, runs: Iterable[Run]) -> list[str]:
    given = sum(_bytes(entry) for entry in network.sample) / MIB
    passed = 2 * sum(run.bytes for run in runs) / MIB  # values and their gradients
    kept = sum(_bytes(entry) for entry in module.parameters()) / MIB
    return [
        "-" * WIDTH,
        f"Input size (MB): {given:0.2f}",
        f"Forward/backward pass size (MB): {passed:0.2f}",
        f"Params size (MB): {kept:0.2f}",
        f"Estimated Total Size (MB): {given + passed + kept:0.2f}",
        "-" * WIDTH,
    ]


def _runs(network: Network, module: nn.Module, kinds: dict[str, str]) -> list[Run]:
    """Every call of a layer in one forward pass of one sample."""
    runs: list[Run] = []
    with _recording(module, kinds, runs), no_leftovers(module), torch.no_grad():
        module(*network.sample)
    return runs


@contextmanager
def _recording(module: nn.Module, kinds: dict[str, str], runs: list[Run]) -> Iterator[None]:
    handles = []
    for path, part in module.named_modules():
        if path not in kinds or isinstance(part, _CONTAINERS):
            continue

        def ran(_layer: nn.Module, _inputs: Any, output: Any, path: str = path) -> None:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
            runs.append(Run(path, tuple(tuple(entry.shape) for entry in tensors), sum(map(_bytes, tensors))))

        handles.append(part.register_forward_hook(ran))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _parameters(module: nn.Module, ran: set[str]) -> Counter[str]:
    """Numbers of parameters by the innermost layer that runs and holds them; those of the model itself under ""."""
    counts: Counter[str] = Counter()
    for name, parameter in module.named_parameters():
        owner = name.rpartition(".")[0]
        while owner and owner not in ran:
            owner = owner.rpartition(".")[0]
        counts[owner] += parameter.numel()
    return counts


def _row(layer: str, shape: str, parameters: str) -> str:
    return f"{layer:>20}  {shape:>25} {parameters:>15}"


def _shown(shapes: tuple[tuple[int, ...], ...]) -> str:
    free = [str([-1, *shape[1:]]) for shape in shapes]  # the batch is free
    return free[0] if len(free) == 1 else f"[{', '.join(free)}]"


def _bytes(tensor: torch.Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()

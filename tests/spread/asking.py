"""What the tests of spreads and targets share: a request in a line, and figures taken from the cut model itself."""

from __future__ import annotations

from typing import Any

from torch import nn

from coppice.pipeline import Pruned, prune
from coppice.records.frameworks import Framework
from coppice.records.plan import Plan
from coppice.records.request import Request
from coppice.tracing import Network, stored


def pruned(net: Network, **request: Any) -> Pruned:
    """The network as the engine cuts it; the oracle has passed it, or this raises."""
    return prune(net, Request(framework=Framework.PYTORCH, **request), lambda _: None)


def parameters(module: nn.Module) -> int:
    """Counted."""
    return sum(entry.numel() for entry in module.parameters())


def with_more(net: Network, plan: Plan, more: int = 1) -> int:
    """Parameters if every axis that was cut had kept so many positions more than it did."""
    total = 0
    for name, tensor in stored(net.module).items():
        if isinstance(tensor, nn.Parameter):
            count = 1
            for axis, length in enumerate(tensor.shape):
                kept = plan.kept.get(name, {}).get(axis)
                count *= length if kept is None else min(length, len(kept) + more)
            total += count
    return total


class Chain(nn.Sequential):
    """Convolutions of these widths, then a head."""

    def __init__(self, *widths: int) -> None:
        pairs = zip((3, *widths), widths, strict=False)
        convolutions = [layer for a, b in pairs for layer in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())]
        super().__init__(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 5))

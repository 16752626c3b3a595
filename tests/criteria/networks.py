"""Networks with samples, for the tests of criteria."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coppice import rules
from coppice.channels import Channels
from coppice.criteria import Evidence
from coppice.tracing import Network, trace
from coppice.tracing.samples import Samples
from tests.engine.models import network


def sampled(module: nn.Module, shape: tuple[int, ...], count: int = 40, labels: Tensor | None = None) -> Network:
    """The module with samples whose channels depend on each other."""
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1)).cumsum(1)
    return replace(network(module, shape), samples=Samples(inputs=(inputs,), labels=labels))


def evidence(net: Network) -> tuple[Evidence, Channels]:
    """What criteria look at, and the network's channels."""
    channels = trace(net, rules.rule_of).channels
    return Evidence(network=net, groups=channels.groups), channels


class Small(nn.Module):
    """Two convolutions and a linear layer on the means of their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3, stride=2), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3)))
        return y


class Residual(nn.Module):
    """Two layers make the same channels; batch norms scale them and those between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 7, 1), nn.Conv2d(7, 5, 1)
        self.na, self.nb, self.out = nn.BatchNorm2d(7), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.out(x + self.nb(self.b(F.relu(self.na(self.a(x))))))
        return y


class Perceptron(nn.Module):
    """One hidden layer, and what is made of its outputs."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(5, 6), nn.Linear(6, 3), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.b(torch.tanh(self.a(x))))
        return y

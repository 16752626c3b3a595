"""Small networks for the tests of quantization, and what a job makes of them before they are quantized."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from coppice.records.frameworks import Framework
from coppice.records.request import Request, Task
from coppice.steps.quantize import Outcome, quantize
from coppice.steps.restore import usable
from coppice.tracing import Layer, Network
from coppice.tracing.samples import Samples

ROWS = 160


class Attention(nn.Module):
    """One tensor holds queries, keys and values, and each is multiplied by its own part."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(48, 16) * 0.3)
        self.out = nn.Linear(16, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (x @ part.t() for part in self.qkv.chunk(3))
        mixed = (q @ k.transpose(1, 2) / 4).softmax(-1) @ v
        result: Tensor = self.head(self.out(mixed).mean(1))
        return result


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.middle = nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.middle(self.lstm(x)[0][:, -1]).relu())
        return result


def convolutional() -> nn.Sequential:
    """Every kind of convolution, with and without bias, then linear layers."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12),
        nn.Conv2d(12, 16, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, groups=4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 12, 2, stride=2, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 24),
        nn.ReLU(),
        nn.Linear(24, 5),
    )


def network(module: nn.Module, *shape: int, samples: Tensor | None = None, seed: int = 0) -> Network:
    """A module in evaluation mode, with samples of the shape; batch norms have seen them."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            part.momentum = None  # the mean over all that is seen
    x = torch.randn(ROWS, *shape) if samples is None else samples
    module.train()
    with torch.no_grad():
        module(x)
    return Network(
        module=module.eval(),
        inputs=(x[:2],),
        layers=tuple(
            Layer(name=path, path=path, kind=type(part).__name__) for path, part in module.named_modules() if path
        ),
        samples=Samples(inputs=(x,)),
    )


def quantized(network: Network, *, samples: bool = True, beyond: int = 0, **asked: Any) -> Outcome:
    """As a job quantizes an uploaded model: of the weights alone, unless `asked` says more."""
    network, basis = usable(network)
    if "precision" not in asked:
        asked = {"activations": "float32", **asked}
    shape = list(network.inputs[0].shape[1:])
    request = Request.model_validate(
        {"framework": Framework.PYTORCH, "task": Task.QUANTIZE, "input_size": shape, **asked}
    )
    return quantize(network, network.module, request, basis if samples else None, beyond=beyond)

"""Models that were rounded by hand, for the tests of what is written of them: without the engine's own rounding."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from coppice.formats.onnx.quantized import write
from coppice.formats.pytorch.onnx import exported, write_onnx
from coppice.formats.quantized import Quantizing, Written
from coppice.formats.source import Source
from coppice.quant import GRIDS, Coded, QuantizedModel
from coppice.records.plan import Plan
from coppice.records.quantization import Activations, Format, Numbers, Precision, Rounding, Wanted
from coppice.tracing.network import Layer, Network
from coppice.tracing.samples import Samples


class Block(nn.Module):
    """A residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.last = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.last(self.second(torch.relu(self.norm(self.first(x)))))
        return torch.relu(x + cast(Tensor, inner))


def network() -> nn.Module:
    """Convolutions, batch norms that are no identity, a residual add, and linear layers."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        Block(16),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 33),
        nn.ReLU(),
        nn.Linear(33, 10),
    )
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(16)
            part.running_var = torch.rand(16) + 0.5
            part.weight.data = torch.rand(16) + 0.5
            part.bias.data = torch.randn(16)
    return model.eval()


@dataclass(frozen=True, kw_only=True)
class FromMemory:
    """A source of a live module."""

    network: Network
    stem: str = "net"

    def export_onnx(self, module: nn.Module, path: Path) -> None:
        exported(write_onnx, module, self.network, path)


def source(model: nn.Module, *inputs: Tensor) -> Source:
    layers = tuple(
        Layer(name=path, path=path, kind=type(part).__name__) for path, part in model.named_modules() if path
    )
    return cast(Source, FromMemory(network=Network(module=model, inputs=inputs, layers=layers)))


def rounded(model: nn.Module, bits: int, left: Collection[str] = ()) -> QuantizedModel:
    """Every output's weights to the nearest of the grid, by a scale of its own."""
    module, coded = copy.deepcopy(model), {}
    for path, part in module.named_modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear) and path not in left:
            weight, grid = part.weight.data, GRIDS[bits]
            scale = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True) / grid.largest
            codes = grid.nearest(weight / scale)
            part.weight.data = codes * scale
            coded[f"{path}.weight"] = Coded(
                codes=codes.to(torch.int8), scale=scale, bits=bits, rounding=Rounding.NEAREST
            )
    return QuantizedModel(module=module, coded=coded, left={f"{path}.weight": "kept as float32" for path in left})


def task(
    model: nn.Module,
    *,
    weights: Precision,
    biases: Precision = Precision.FLOAT32,
    activations: Activations = Activations.FLOAT32,
    left: Collection[str] = (),
    size: tuple[int, ...] = (3, 8, 8),
) -> Quantizing:
    samples = torch.randn(80, *size, generator=torch.Generator().manual_seed(1))
    halves = {name: weights for name, _ in model.named_parameters()}
    return Quantizing(
        wanted=Wanted(
            output_format=Format.ONNX, numbers=Numbers(weights=weights, biases=biases, activations=activations)
        ),
        source=source(model, samples[:4]),
        plan=Plan(),
        dense=model,
        model=rounded(model, weights.bits, left) if weights.whole else QuantizedModel(module=model, floats=halves),
        calibration=Samples(inputs=(samples[:48],)),
        held_out=Samples(inputs=(samples[48:],)),
    )


def written(task: Quantizing, out: Path) -> tuple[Written, onnx.ModelProto]:
    found = write(task, out)
    model = onnx.load(out / found.artifacts[0].file)
    onnx.checker.check_model(model, full_check=True)
    return found, model


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def outputs(task: Quantizing, module: nn.Module) -> Tensor:
    """What a module gives for the samples held out."""
    assert task.held_out is not None
    with torch.no_grad():
        return cast(Tensor, module(*task.held_out.inputs))


def decibels(expected: Tensor, found: Tensor) -> float:
    """Decibels of the outputs over the difference."""
    return float(10 * torch.log10(expected.pow(2).mean() / (expected - found).pow(2).mean()))

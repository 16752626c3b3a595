"""Quantized models as the packed writers take them, rounded by numpy alone: nothing of the engine's own rounding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from coppice.formats import open_upload
from coppice.formats.quantized import Quantizing
from coppice.formats.source import Source
from coppice.quant import Coded, QuantizedModel
from coppice.records.plan import Plan
from coppice.records.quantization import Activations, Format, Numbers, Precision, Rounding, Wanted
from coppice.records.request import Part, Request
from coppice.steps.apply import copied
from coppice.tracing import stored
from coppice.tracing.samples import Samples

#: Bits -> the whole numbers that they stand for, as the documents of the format list them.
NUMBERS = {
    8: np.arange(-127, 128),
    4: np.arange(-7, 8),
    2: np.array([-3, -1, 1, 3]),
    1: np.array([-1, 1]),
}
BITS = {"int8": 8, "int4": 4, "int2": 2, "int1": 1}
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def rounded(values: NDArray[Any], bits: int, axis: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """The nearest whole numbers, and a scale for each position of an axis."""
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    scale = (np.abs(values).max(axis=others, keepdims=True) / NUMBERS[bits].max()).astype(np.float32)
    away = np.abs(values[..., None] / scale[..., None] - NUMBERS[bits])
    return NUMBERS[bits][away.argmin(-1)].astype(np.int8), scale


def coded(values: NDArray[Any], bits: int, axis: int = 0) -> Coded:
    codes, scale = rounded(values, bits, axis)
    return Coded(codes=torch.from_numpy(codes), scale=torch.from_numpy(scale), bits=bits, rounding=Rounding.NEAREST)


def quantized(
    module: nn.Module, bits: Mapping[str, int], halves: Mapping[str, str], *, axis: int = 0
) -> QuantizedModel:
    """A copy with some tensors on grids and others rounded to halves."""
    model = copied(module)
    tensors = stored(model)
    on_grids = {name: coded(tensors[name].detach().numpy(), how, axis) for name, how in bits.items()}
    with torch.no_grad():
        for name, one in on_grids.items():
            tensors[name].copy_(one.values)
        for name, half in halves.items():
            tensors[name].copy_(tensors[name].to(HALVES[half]))
    return QuantizedModel(module=model, coded=on_grids, floats={name: Precision(half) for name, half in halves.items()})


def weights_of(module: nn.Module) -> list[str]:
    """Everything that multiplies in the models of these tests."""
    return [name for name, tensor in module.named_parameters() if tensor.dim() > 1]


def task(
    source: Source,
    precision: str,
    *,
    module: nn.Module | None = None,
    plan: Plan | None = None,
    samples: torch.Tensor | None = None,
    axis: int = 0,
    activations: Activations = Activations.FLOAT32,
) -> Quantizing:
    """What the writers are given: every weight in one precision; with halves that are computed in, everything."""
    dense = source.network.module if module is None else module
    names = weights_of(dense)
    bits = dict.fromkeys(names, BITS[precision]) if precision in BITS else {}
    if activations is not Activations.FLOAT32:
        names = [name for name, tensor in stored(dense).items() if tensor.is_floating_point()]
    halves = {} if bits else dict.fromkeys(names, precision)
    return Quantizing(
        wanted=Wanted(
            output_format=Format.SAFETENSORS,
            numbers=Numbers(weights=Precision(precision), biases=Precision.FLOAT32, activations=activations),
        ),
        source=source,
        plan=plan or Plan(kept={}),
        dense=dense,
        model=quantized(dense, bits, halves, axis=axis),
        calibration=None,
        held_out=None if samples is None else Samples(inputs=(samples,)),
    )


def opened(request: Request, files: Mapping[Part, Path]) -> Source:
    return open_upload(request, files)

"""Biases in few bits: each vector on a grid of its own. They come last, since corrections of weights end in them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from coppice.quant import GRIDS, Coded
from coppice.quant.nearest import nearest
from coppice.records.quantization import Precision, Rounding
from coppice.tracing import stored


def coded_biases(module: nn.Module, names: Iterable[str], precision: Precision) -> dict[str, Coded]:
    """Round vectors of `module` in place; gives their codes, with one scale each."""
    tensors, found = stored(module), {}
    for name in names:
        vector = tensors[name].detach()
        coarse = nearest(vector.float().reshape(1, -1, 1), GRIDS[precision.bits])
        found[name] = Coded(
            codes=coarse.codes.reshape(vector.shape).to(torch.int8),
            scale=coarse.scale.reshape([1] * vector.dim()),
            bits=precision.bits,
            rounding=Rounding.NEAREST,
        )
        vector.copy_(found[name].values)
    return found

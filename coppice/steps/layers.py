"""layers: where the parameters and the multiply-accumulates of a model are, before and after the cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import nn

from coppice.records.report import LayerCost, LayerCosts
from coppice.steps.macs import macs_at_weights


def by_layer(
    before: nn.Module, after: nn.Module, inputs: Sequence[torch.Tensor], layer_of: Callable[[str], str]
) -> tuple[LayerCosts, ...]:
    """The costs of each layer that has parameters, in the model's order; a cut keeps every tensor's name.

    Products of two activations belong to no weight, and so to no layer.
    """
    old, new = _amounts(before, inputs, layer_of), _amounts(after, inputs, layer_of)
    return tuple(
        LayerCosts(name=name, before=old[name], after=new.get(name, LayerCost(parameters=0, macs=0))) for name in old
    )


def _amounts(module: nn.Module, inputs: Sequence[torch.Tensor], layer_of: Callable[[str], str]) -> dict[str, LayerCost]:
    macs, counted = Counter[str](), Counter[str]()
    at_weights = macs_at_weights(module, inputs)
    for tensor, parameter in module.named_parameters():
        layer = layer_of(tensor)
        counted[layer] += parameter.numel()
        macs[layer] += at_weights.get(tensor, 0)
    return {layer: LayerCost(parameters=number, macs=macs[layer]) for layer, number in counted.items()}

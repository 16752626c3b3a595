"""inspection: how much of the model each group holds, and the table that shows it.

A group's share is what its slices hold: filters that make its channels, slices that read them, and whatever lies along
them (norms, biases). Multiply-accumulates are counted at the weights that they multiply; the products of two
activations (attention's own) belong to no weight and so to no group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from coppice.channels import Group
from coppice.records.report import FrozenReport, GroupReport
from coppice.steps.macs import macs_at_weights
from coppice.tracing import stored

_COLUMNS = ("group", "layers", "channels", "would go", "of parameters", "of MACs", "why not more")
#: Layers named in a row before it says how many more there are.
_NAMED = 3


def with_shares(
    lines: Sequence[GroupReport],
    groups: Sequence[Group],
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    macs: int,
) -> tuple[GroupReport, ...]:
    """The lines with the two shares of each group; `macs` are those of the whole model on `inputs`."""
    tensors = stored(module)
    parameters = {name: tensor.numel() for name, tensor in module.named_parameters()}
    at_weights = macs_at_weights(module, inputs)
    total = sum(parameters.values())

    def held(group: Group, amounts: Mapping[str, int], whole: int) -> float:
        if not whole:
            return 0.0
        return sum(amounts.get(name, 0) * part for name, part in _parts(group, tensors).items()) / whole

    return tuple(
        line.model_copy(update={"parameters": held(group, parameters, total), "macs": held(group, at_weights, macs)})
        for line, group in zip(lines, groups, strict=True)
    )


def table(groups: Sequence[GroupReport], frozen: Sequence[FrozenReport]) -> str:
    """What could be pruned and what stays whole, as text in columns."""
    rows = [
        (
            group.name,
            _named(group.layers),
            str(group.channels),
            str(group.removed),
            _share(group.parameters),
            _share(group.macs),
            group.reason or "",
        )
        for group in groups
    ]
    whole = [(_named(entry.layers), str(entry.channels), entry.reason) for entry in frozen]
    return "\n".join(
        [
            *_aligned("Can be pruned", _COLUMNS, rows),
            "",
            *_aligned("Stays whole", ("layers", "channels", "reason"), whole),
        ]
    )


def _parts(group: Group, stored: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Of every tensor that the group touches, the share of its elements that lie in the group's slices."""
    outside: dict[str, float] = {}
    for (name, axis), slots in group.slots.items():
        taken = len(set(slots.position.tolist())) / stored[name].shape[axis]
        outside[name] = outside.get(name, 1.0) * (1.0 - taken)
    return {name: 1.0 - left for name, left in outside.items()}


def _named(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return ", ".join(layers[:_NAMED]) + more


def _share(share: float | None) -> str:
    return "" if share is None or math.isnan(share) else f"{share:.1%}"


def _aligned(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return [f"{title}: nothing"]
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [title, texts[0], "-" * max(map(len, texts)), *texts[1:]]

"""inspection: how much of the model each group holds, and the table that shows it.

A group's share is what its slices hold: filters that make its channels, slices that read them, and whatever lies along
them (norms, biases). Multiply-accumulates are counted at the weights that they multiply; the products of two
activations (attention's own) belong to no weight and so to no group.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from coppice.channels import Group
from coppice.records.report import FrozenReport, GroupReport
from coppice.tracing import stored
from coppice.tracing.composites import unfused

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


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Counts the multiply-accumulates of each operator at the stored tensor that it reads."""

    def __init__(self, owners: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()
        self._owners = owners

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None:
            with self:  # what a composite operator is made of is counted
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if count is not None:
            matrices = [leaf for leaf in tree_leaves((args, kwargs)) if _is_matrix(leaf)]
            read = {owner: leaf.numel() for leaf in matrices if (owner := self._owners.get(_place(leaf))) is not None}
            for owner, numbers in read.items():  # an LSTM's two matrices meet the same steps
                self.found[owner] += count(*args, **kwargs, out_val=result) // 2 * numbers // sum(read.values())
        return result


def macs_at_weights(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Mapping[str, int]:
    """The multiply-accumulates of one forward pass by the parameter that is multiplied."""
    owners = {_place(tensor): name for name, tensor in module.named_parameters()}
    with torch.no_grad(), unfused(), _Counting(owners) as counting:
        module(*inputs)
    found: Mapping[str, int] = counting.found
    return found


def _is_matrix(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.dim() > 1  # a bias is added, not multiplied


def _place(tensor: torch.Tensor) -> int:
    """Where a tensor's numbers are: a transposed weight is still that weight."""
    return tensor.untyped_storage().data_ptr()


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

"""Which positions a pruned model kept, read off its numbers: no engine has to be believed.

Weights drawn at random are all but unique, so a number tells where it was. Each axis of a cut tensor is judged by those
of its numbers that occur once in the original, and the whole tensor must then be the slice that was found.
"""

from __future__ import annotations

import torch
from torch import nn

from coppice.records.plan import Plan


class NotASlice(Exception):
    """A tensor of the pruned model is no slice of the original one."""


def kept_of(dense: nn.Module, pruned: nn.Module) -> Plan:
    """The plan that the pruned model follows; raises NotASlice."""
    after = _stored(pruned)
    kept: dict[str, dict[int, tuple[int, ...]]] = {}
    for name, tensor in _stored(dense).items():
        if name not in after:
            raise NotASlice(f"{name} is gone")
        found = after[name]
        if found.shape == tensor.shape and torch.equal(found, tensor):
            continue
        kept[name] = _axes(name, tensor.detach(), found.detach())
    return Plan(kept=kept)


def _stored(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}


def _axes(name: str, dense: torch.Tensor, pruned: torch.Tensor) -> dict[int, tuple[int, ...]]:
    if dense.dim() != pruned.dim() or not pruned.numel():
        raise NotASlice(f"{name} has shape {tuple(pruned.shape)}, once {tuple(dense.shape)}")
    long = [axis for axis, length in enumerate(dense.shape) if length > 1]
    if len(long) == 1:
        return {long[0]: _row(name, dense.flatten(), pruned.flatten())}
    order = dense.flatten().argsort()
    values = dense.flatten()[order]
    at = torch.searchsorted(values, pruned.flatten().contiguous()).clamp_(max=values.numel() - 1)
    following = values[(at + 1).clamp_(max=values.numel() - 1)]
    once = (following != values[at]) | (at == values.numel() - 1)
    places = torch.unravel_index(order[at], dense.shape)
    kept = {}
    for axis, place in enumerate(places):
        rows = torch.where(once, place, -1).reshape(pruned.shape).movedim(axis, 0).reshape(pruned.shape[axis], -1)
        kept[axis] = tuple(int(row[row >= 0].mode().values) if bool((row >= 0).any()) else -1 for row in rows)
    slices = dense
    for axis, positions in kept.items():
        if min(positions) < 0:
            raise NotASlice(f"{name}: axis {axis} can't be told")
        slices = slices.index_select(axis, torch.tensor(positions))
    if not torch.equal(slices, pruned):
        raise NotASlice(f"{name} is no slice of what it was")
    return {axis: positions for axis, positions in kept.items() if positions != tuple(range(dense.shape[axis]))}


def _row(name: str, dense: torch.Tensor, pruned: torch.Tensor) -> tuple[int, ...]:
    """Positions of the numbers of a vector, in order: of equal ones the next."""
    numbers, kept, start = dense.tolist(), [], 0
    for number in pruned.tolist():
        try:
            start = numbers.index(number, start) + 1
        except ValueError as e:
            raise NotASlice(f"{name} is no slice of what it was, in order") from e
        kept.append(start - 1)
    return tuple(kept)

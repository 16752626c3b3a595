"""make_plan: from scores to the plan, which says of every tensor what is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Channels, Group
from coppice.records.plan import Plan
from coppice.steps.allocate import Allocation
from coppice.steps.score import Scores
from coppice.tracing import Traced


def complete_plan(traced: Traced, scores: Scores, allocation: Allocation, cut: Iterable[int]) -> Plan:
    """The plan of the tensors, and with it the numbers that the model's code must be given."""
    plan = make_plan(traced.channels, scores, allocation, cut)
    return plan.model_copy(update={"attributes": traced.integers.attributes(plan.kept)})


def make_plan(channels: Channels, scores: Scores, allocation: Allocation, cut: Iterable[int]) -> Plan:
    """Remove what is allocated of every group whose number is in `cut`; the lowest scores go."""
    going: dict[int, NDArray[np.bool_]] = {}
    for chosen in cut:
        group = channels.groups[chosen]
        held = allocation.stays(chosen)
        rank = scores[chosen] if held is None else np.where(held, np.inf, scores[chosen])
        going[chosen] = _going(group, rank, allocation.of(group))
    return plan_of(channels, going)


def plan_of(channels: Channels, leaving: Mapping[int, NDArray[np.bool_]]) -> Plan:
    """The plan by which of every group these units go."""
    stays: dict[tuple[str, int], NDArray[np.bool_]] = {}
    for chosen, going in leaving.items():
        group = channels.groups[chosen]
        if not going.any():
            continue
        for axis, slots in group.slots.items():
            if axis not in stays:
                stays[axis] = np.ones(channels.sizes[axis], dtype=bool)
            stays[axis][slots.position[going[slots.unit]]] = False
    kept: dict[str, dict[int, tuple[int, ...]]] = {}
    for (tensor, number), positions in stays.items():
        kept.setdefault(tensor, {})[number] = tuple(np.flatnonzero(positions).tolist())
    return Plan(kept=kept)


def _going(group: Group, rank: NDArray[np.float64], removed: Mapping[int, int]) -> NDArray[np.bool_]:
    """Of every cell the units of the lowest rank."""
    going = np.zeros(group.size, dtype=bool)
    for cell, count in removed.items():
        inside = np.flatnonzero(group.cell == cell)
        going[inside[np.argsort(rank[inside], kind="stable")[:count]]] = True
    return going


def keeps_output(group: Group, tensors: Collection[str]) -> bool:
    """Whether omitting the layers that own `tensors` keeps the group: they make its channels, not only read them."""
    return any(name in tensors and (slots.produces or not slots.consumes) for (name, _), slots in group.slots.items())

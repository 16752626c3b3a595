"""make_plan: from scores to the plan, which says of every tensor what is kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Channels, Group
from coppice.records.plan import Plan
from coppice.steps.score import Scores


def share(channels: int, percent: float) -> int:
    """The nearest whole number of `percent` times the channels; a tie keeps the channel; never all of them.

    >>> share(32, 0.4), share(5, 0.5), share(1, 0.9), share(10, 0.35)
    (13, 2, 0, 3)
    """
    # Decimal of the shortest text: 0.35 * 10 is a tie for the user who wrote 0.35, whatever its binary neighbour is.
    exact = Decimal(str(percent)) * channels
    return max(0, min(math.ceil(exact - Decimal("0.5")), channels - 1))


def removal(group: Group, percent: float) -> int:
    """How many units of a group `percent` removes: what is asked, rounded to the steps in which the group can go."""
    return share(group.fineness, percent) * (group.size // group.fineness)


def make_plan(channels: Channels, scores: Scores, percent: float, cut: Iterable[int]) -> Plan:
    """Remove `percent` of the units of every group whose number is in `cut`; the lowest scores go."""
    removed: dict[tuple[str, int], set[int]] = {}
    for chosen in cut:
        group = channels.groups[chosen]
        if not removal(group, percent):
            continue
        going = _going(group, scores[chosen], percent)
        for axis, slots in group.slots.items():
            removed.setdefault(axis, set()).update(slots.position[going[slots.unit]].tolist())
    kept: dict[str, dict[int, tuple[int, ...]]] = {}
    for (tensor, number), positions in removed.items():
        stays = tuple(i for i in range(channels.sizes[tensor, number]) if i not in positions)
        kept.setdefault(tensor, {})[number] = stays
    return Plan(kept=kept)


def _going(group: Group, scores: NDArray[np.float64], percent: float) -> NDArray[np.bool_]:
    """Of every cell the units with the lowest scores, the same share of each."""
    going = np.zeros(group.size, dtype=bool)
    for cell in np.unique(group.cell):
        inside = np.flatnonzero(group.cell == cell)
        count = share(group.fineness, percent) * inside.size // group.fineness
        going[inside[np.argsort(scores[inside], kind="stable")[:count]]] = True
    return going


def keeps_output(group: Group, tensors: Collection[str]) -> bool:
    """Whether omitting the layers that own `tensors` keeps the group: they make its channels, not only read them."""
    return any(name in tensors and (slots.produces or not slots.consumes) for (name, _), slots in group.slots.items())

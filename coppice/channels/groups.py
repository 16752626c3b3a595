"""Units, groups and reasons: what a settled ledger says.

The connected components of all ties are the units. Units with the same set of `(tensor, axis)` form a group: the
channels of one coupled set of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]
Axis = tuple[str, int]

PRODUCES, CONSUMES = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where the units of a group lie on one axis of one tensor: unit `unit[i]` holds position `position[i]`."""

    unit: Ints
    position: Ints
    produces: bool
    consumes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Units that live on the same axes; `size` of them, numbered 0 to size - 1 in order of their first position."""

    size: int
    slots: dict[Axis, Slots]
    mixes: str | None  # the reason why exact equality can't hold when units are removed, if there is one

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every `(tensor, axis)` that the group's units touch, in the order of the model's tensors."""
        return tuple(self.slots)

    @property
    def producers(self) -> tuple[Axis, ...]:
        """The axes on which the group's channels are made."""
        return tuple(axis for axis, slots in self.slots.items() if slots.produces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Positions of one producing axis that no plan may remove."""

    axis: Axis
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The groups of a model, and what is frozen and why."""

    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    sizes: dict[Axis, int]


def settle(
    count: int,
    slots: Sequence[tuple[str, int, int, int]],
    ties: Sequence[tuple[Ints, Ints]],
    fixes: Sequence[tuple[Ints, str]],
    roles: Sequence[tuple[Ints, int]],
    mixes: Sequence[tuple[Ints, str]],
) -> Channels:
    """Components, reasons and groups; `count` is one more than the largest label. See `Ledger` for the arguments."""
    unit_of = _components(count, ties)
    reason_of = _first_reason(unit_of, fixes)
    mixed_by = _first_reason(unit_of, mixes)
    role_of = np.zeros(count, dtype=np.int64)
    for labels, part in roles:
        role_of[labels] |= int(part)

    unit = np.concatenate([unit_of[first : first + length] for *_, first, length in slots] or [np.zeros(0, np.int64)])
    role = np.concatenate([role_of[first : first + length] for *_, first, length in slots] or [np.zeros(0, np.int64)])
    axis = np.repeat(np.arange(len(slots)), [length for *_, length in slots])
    position = np.concatenate([np.arange(length) for *_, length in slots] or [np.zeros(0, np.int64)])

    produced = np.zeros(unit_of.max(initial=0) + 1, dtype=bool)
    produced[unit[(role & PRODUCES) > 0]] = True
    for orphan in np.setdiff1d(unit, np.flatnonzero(produced)):
        reason_of.setdefault(int(orphan), "no layer produces these channels")

    fixed = np.isin(unit, np.fromiter(reason_of, dtype=np.int64, count=len(reason_of)))
    names: list[Axis] = [(tensor, number) for tensor, number, *_ in slots]
    frozen = _frozen(names, unit[fixed], axis[fixed], role[fixed], reason_of)
    groups = _groups(names, unit[~fixed], axis[~fixed], position[~fixed], role[~fixed], mixed_by)
    return Channels(groups=groups, frozen=frozen, sizes={(tensor, n): length for tensor, n, _, length in slots})


def _components(count: int, ties: Sequence[tuple[Ints, Ints]]) -> Ints:
    if not ties:
        return np.arange(count)
    a = np.concatenate([left for left, _ in ties])
    b = np.concatenate([right for _, right in ties])
    graph = coo_matrix((np.ones(a.size), (a, b)), shape=(count, count))  # duplicates are summed: no small integers
    component: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return component


def _first_reason(unit_of: Ints, notes: Sequence[tuple[Ints, str]]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for labels, reason in notes:
        for unit in np.unique(unit_of[labels]):
            reasons.setdefault(int(unit), reason)
    return reasons


def _frozen(names: Sequence[Axis], unit: Ints, axis: Ints, role: Ints, reason_of: dict[int, str]) -> tuple[Frozen, ...]:
    counts: dict[tuple[int, str], int] = {}
    made = (role & PRODUCES) > 0
    for number, a in zip(unit[made].tolist(), axis[made].tolist(), strict=True):
        key = (a, reason_of[number])
        counts[key] = counts.get(key, 0) + 1
    return tuple(Frozen(axis=names[a], count=n, reason=reason) for (a, reason), n in counts.items())


def _groups(
    names: Sequence[Axis], unit: Ints, axis: Ints, position: Ints, role: Ints, mixed_by: dict[int, str]
) -> tuple[Group, ...]:
    members: dict[int, set[int]] = {}
    for number, a in zip(unit.tolist(), axis.tolist(), strict=True):
        members.setdefault(number, set()).add(a)
    families: dict[frozenset[int], list[int]] = {}
    for number, on in members.items():  # in order of first position, so units are numbered as the model stores them
        families.setdefault(frozenset(on), []).append(number)

    family_of = np.zeros(unit.max(initial=0) + 1, dtype=np.int64)
    index_in = np.zeros_like(family_of)
    for family, numbers in enumerate(families.values()):
        family_of[numbers] = family
        index_in[numbers] = np.arange(len(numbers))

    order = np.lexsort((position, axis, family_of[unit]))
    key = family_of[unit][order] * (len(names) + 1) + axis[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    slots: list[dict[Axis, Slots]] = [{} for _ in families]
    for chunk in np.split(order, starts[1:]) if order.size else []:
        roles = int(np.bitwise_or.reduce(role[chunk]))
        slots[family_of[unit[chunk[0]]]][names[axis[chunk[0]]]] = Slots(
            unit=index_in[unit[chunk]],
            position=position[chunk],
            produces=bool(roles & PRODUCES),
            consumes=bool(roles & CONSUMES),
        )
    return tuple(
        Group(
            size=len(numbers),
            slots=lying,
            mixes=next((mixed_by[n] for n in numbers if n in mixed_by), None),
        )
        for numbers, lying in zip(families.values(), slots, strict=True)
    )

"""Units, groups and reasons: what a settled ledger says.

The connected components of all ties are the units. Units with the same set of `(tensor, axis)` form a group: the
channels of one coupled set of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from coppice.channels.shares import FIXED, Bundle, EqualShares, Units, cells, held_back

Ints = NDArray[np.int64]
Axis = tuple[str, int]

PRODUCES, CONSUMES, SCALES = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where the units of a group lie on one axis of one tensor: unit `unit[i]` holds position `position[i]`."""

    unit: Ints
    position: Ints
    produces: bool
    consumes: bool
    scales: bool = False  # each position is the factor by which a batch norm multiplies a channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Units that live on the same axes; `size` of them, numbered 0 to size - 1 in order of their first position."""

    size: int
    slots: dict[Axis, Slots]
    mixes: str | None  # the reason why exact equality can't hold when units are removed, if there is one
    cell: Ints  # per unit: its cell; a group that no constraint binds is one cell
    bundle: int  # groups of one bundle are cut together or not at all

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
    bundles: dict[int, Bundle]  # what constraints ask of the groups of a bundle; most have none


def settle(
    count: int,
    slots: Sequence[tuple[str, int, int, int]],
    ties: Sequence[tuple[Ints, Ints]],
    fixes: Sequence[tuple[Ints, str]],
    roles: Sequence[tuple[Ints, int]],
    mixes: Sequence[tuple[Ints, str]],
    shares: Sequence[EqualShares],
) -> Channels:
    """Components, reasons and groups; `count` is one more than the largest label. See `Ledger` for the arguments."""
    lying = _lying(slots, roles, count)
    fixes = list(fixes)
    units, reasons = _units(count, lying, ties, fixes)
    while held := held_back(shares, units):  # what stays for one constraint may hold the blocks of another
        fixes += held
        units, reasons = _units(count, lying, ties, fixes)
    cell, bundle, bundles = cells(shares, units)

    mixed_by = _first_reason(units.of, mixes)
    unit = units.of[lying.label]
    free = units.free[unit]
    names: list[Axis] = [(tensor, number) for tensor, number, *_ in slots]
    frozen = _frozen(names, unit[~free], lying.axis[~free], lying.role[~free], reasons)
    groups = _groups(
        names,
        unit[free],
        lying.axis[free],
        lying.position[free],
        lying.role[free],
        units.family,
        mixed_by,
        cell,
        bundle,
    )
    sizes = {(tensor, n): length for tensor, n, _, length in slots}
    return Channels(groups=groups, frozen=frozen, sizes=sizes, bundles=bundles)


class _Lying(NamedTuple):
    """Every slot of every tensor: its label, its axis (by number), its position there, and what it does."""

    label: Ints
    axis: Ints
    position: Ints
    role: Ints


def _lying(slots: Sequence[tuple[str, int, int, int]], roles: Sequence[tuple[Ints, int]], count: int) -> _Lying:
    role_of = np.zeros(count, dtype=np.int64)
    for labels, part in roles:
        role_of[labels] |= int(part)
    none = np.zeros(0, dtype=np.int64)
    label = np.concatenate([none, *(np.arange(first, first + length) for *_, first, length in slots)])
    return _Lying(
        label=label,
        axis=np.repeat(np.arange(len(slots)), [length for *_, length in slots]),
        position=np.concatenate([none, *(np.arange(length) for *_, length in slots)]),
        role=role_of[label],
    )


def _units(
    count: int, lying: _Lying, ties: Sequence[tuple[Ints, Ints]], fixes: Sequence[tuple[Ints, str]]
) -> tuple[Units, dict[int, str]]:
    """The connected components, and the reason of every one that stays."""
    of = connected(count, ties)
    reasons = _first_reason(of, fixes)
    unit = of[lying.label]
    number = of.max(initial=0) + 1
    stored, free = np.zeros(number, dtype=bool), np.zeros(number, dtype=bool)
    stored[unit] = True
    free[unit[(lying.role & PRODUCES) > 0]] = True
    for orphan in np.flatnonzero(stored & ~free):
        reasons.setdefault(int(orphan), "no layer produces these channels")
    held = np.fromiter(reasons, dtype=np.int64, count=len(reasons))
    free[held] = False
    loose = ~stored
    loose[held] = loose[of[FIXED]] = False
    # Units on the same set of axes are a family: the sum of a random word per axis tells the sets apart.
    words = np.random.default_rng(0).integers(1, 2**62, size=lying.axis.max(initial=0) + 1)
    inside, on = np.divmod(np.unique(unit * words.size + lying.axis), words.size)
    family = np.zeros(number, dtype=np.int64)
    np.add.at(family, inside, words[on])
    return Units(of=of, free=free, loose=loose, family=family), reasons


def connected(count: int, ties: Sequence[tuple[Ints, Ints]]) -> Ints:
    """The number of every label's connected component, `count` being one more than the largest label."""
    if not ties:
        return np.arange(count)
    a = np.concatenate([left for left, _ in ties])
    b = np.concatenate([right for _, right in ties])
    graph = coo_matrix((np.ones(a.size), (a, b)), shape=(count, count))  # duplicates are summed: no small integers
    component: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return component


def _first_reason(unit_of: Ints, notes: Sequence[tuple[Ints, str]]) -> dict[int, str]:
    """For every unit that a note touches, the reason of the first that does."""
    if not notes:
        return {}
    units, first = np.unique(unit_of[np.concatenate([labels for labels, _ in notes])], return_index=True)
    note = np.repeat(np.arange(len(notes)), [labels.size for labels, _ in notes])[first]
    return {unit: notes[number][1] for unit, number in zip(units.tolist(), note.tolist(), strict=True)}


def _frozen(names: Sequence[Axis], unit: Ints, axis: Ints, role: Ints, reason_of: dict[int, str]) -> tuple[Frozen, ...]:
    counts: dict[tuple[int, str], int] = {}
    made = (role & PRODUCES) > 0
    for number, a in zip(unit[made].tolist(), axis[made].tolist(), strict=True):
        key = (a, reason_of[number])
        counts[key] = counts.get(key, 0) + 1
    return tuple(Frozen(axis=names[a], count=n, reason=reason) for (a, reason), n in counts.items())


def _groups(
    names: Sequence[Axis],
    unit: Ints,
    axis: Ints,
    position: Ints,
    role: Ints,
    family: Ints,
    mixed_by: dict[int, str],
    cell: Ints,
    bundle: Ints,
) -> tuple[Group, ...]:
    numbers, first = np.unique(unit, return_index=True)
    numbers = numbers[np.argsort(first)]  # in order of first position, so units are numbered as the model stores them
    kinds: dict[tuple[int, int], list[int]] = {}  # a family, as far as it is in one bundle
    for number, words, part in zip(numbers.tolist(), family[numbers].tolist(), bundle[numbers].tolist(), strict=True):
        kinds.setdefault((words, part), []).append(number)
    members = [np.array(inside) for inside in kinds.values()]
    group_of_unit, index_in = np.zeros_like(family), np.zeros_like(family)
    for group, inside in enumerate(members):
        group_of_unit[inside] = group
        index_in[inside] = np.arange(inside.size)

    order = np.lexsort((position, axis, group_of_unit[unit]))
    key = group_of_unit[unit][order] * (len(names) + 1) + axis[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    slots: list[dict[Axis, Slots]] = [{} for _ in members]
    for chunk in np.split(order, starts[1:]) if order.size else []:
        roles = int(np.bitwise_or.reduce(role[chunk]))
        slots[group_of_unit[unit[chunk[0]]]][names[axis[chunk[0]]]] = Slots(
            unit=index_in[unit[chunk]],
            position=position[chunk],
            produces=bool(roles & PRODUCES),
            consumes=bool(roles & CONSUMES),
            scales=bool(roles & SCALES),
        )
    return tuple(
        Group(
            size=inside.size,
            slots=lying,
            mixes=next((mixed_by[n] for n in inside.tolist() if n in mixed_by), None),
            cell=cell[inside],
            bundle=int(bundle[inside[0]]),
        )
        for inside, lying in zip(members, slots, strict=True)
    )

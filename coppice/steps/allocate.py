"""allocate: how many units of every cell go, so that what was asked of every group does.

Where constraints hold cells together (see `channels.shares`) the nearest numbers that satisfy them are found by an
integer program (see `program`); elsewhere a group is one cell, and the nearest whole number is taken.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Channels, Group
from coppice.steps.program import Ints, Room, program

Axis = tuple[str, int]

#: Number of a bundle -> the fraction of its units that is asked to go.
Fractions = Mapping[int, float]


def share(channels: int, percent: float) -> int:
    """The nearest whole number of `percent` times the channels; a tie keeps the channel; never all of them.

    >>> share(32, 0.4), share(5, 0.5), share(1, 0.9), share(10, 0.35)
    (13, 2, 0, 3)
    """
    # Decimal of the shortest text: 0.35 * 10 is a tie for the user who wrote 0.35, whatever its binary neighbour is.
    exact = Decimal(str(percent)) * channels
    return max(0, min(math.ceil(exact - Decimal("0.5")), channels - 1))


def uniform(channels: Channels, percent: float) -> Fractions:
    """The same fraction of every bundle."""
    return {group.bundle: percent for group in channels.groups}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for every cut of a request, whatever the fractions."""

    round_to: int = 1  # what stays of a width that is cut is a multiple of it
    most: Mapping[int, float] = field(default_factory=dict)  # bundle -> of each of its groups no larger share goes
    kept: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)  # group -> per unit, whether it stays


class Allocation:
    """The number of units that go, per cell and per group; bundles are solved when first asked for."""

    def __init__(self, channels: Channels, fractions: Fractions, limits: Limits | None = None) -> None:
        self._channels, self.fractions, self._limits = channels, fractions, limits or Limits()
        self._solved: dict[tuple[int, float], dict[int, int]] = {}
        self._held = Counter[int]()  # cell -> units that stay
        for number, stay in self._limits.kept.items():
            self._held.update(channels.groups[number].cell[stay].tolist())
        self._movable = _movable(channels) if self._limits.round_to > 1 else Counter[Axis]()

    def moved(self, fractions: Fractions) -> Allocation:
        """The same with other fractions; what has been solved is not solved again."""
        other = Allocation(self._channels, fractions, self._limits)
        other._solved = self._solved
        return other

    @property
    def limits(self) -> Limits:
        """What holds whatever the fractions."""
        return self._limits

    def stays(self, number: int) -> NDArray[np.bool_] | None:
        """Per unit of a group, whether it stays whatever its score; None where nothing was said of the group."""
        return self._limits.kept.get(number)

    def of(self, group: Group) -> dict[int, int]:
        """Cell -> units removed, for the cells of a group."""
        cells = np.unique(group.cell).tolist()
        if group.bundle not in self._channels.bundles:
            return {cells[0]: self._alone(group, cells[0])}
        key = group.bundle, self.fractions[group.bundle]
        if key not in self._solved:
            self._solved[key] = self._bound(*key)
        return {cell: self._solved[key][cell] for cell in cells}

    def total(self, group: Group) -> int:
        """Units removed of a whole group."""
        return sum(self.of(group).values())

    def asked(self, group: Group) -> int:
        """Units that the fraction of its bundle means for a group."""
        return share(group.size, self.fractions[group.bundle])

    def why(self, group: Group) -> str | None:
        """Why another number goes than was asked; None where that very number does."""
        asked, removed, multiple = self.asked(group), self.total(group), self._limits.round_to
        if asked == removed:
            return None
        reasons = []
        if group.bundle in self._channels.bundles:
            which = "the nearest number that" if removed else "no other number"
            also = f", and widths that are multiples of {multiple}" if multiple > 1 else ""
            reasons.append(f"{which} leaves equal shares where the code needs them{also}")
        elif multiple > 1 and not self._widths(group):
            reasons.append(f"no part of its {group.size} channels leaves widths that are multiples of {multiple}")
        elif multiple > 1:
            stay = f"{group.size - removed} is the number nearest to the {group.size - asked} that were to stay"
            reasons.append(f"{stay} which leaves widths that are multiples of {multiple}")
        if asked > self._most(group):
            reasons.append(f"no more than {self._limits.most[group.bundle]:.0%} of a group goes by score")
        if held := sum(self._held[cell] for cell in np.unique(group.cell).tolist()):
            reasons.append(f"{held} of its channels are on the request's keep list")
        return "; ".join(reasons) or None

    def _alone(self, group: Group, cell: int) -> int:
        wanted = share(group.size, self.fractions[group.bundle])
        if wanted and self._limits.round_to > 1:
            stay = [(abs(kept - group.size + wanted), -kept) for kept in self._widths(group)]
            return group.size + min(stay)[1] if stay else 0
        return min(wanted, self._most(group), group.size - self._held[cell])

    def _most(self, group: Group) -> int:
        return min(math.floor(self._limits.most.get(group.bundle, 1.0) * group.size), group.size - 1)

    def _widths(self, group: Group) -> list[int]:
        """How many units of a group that is one cell may stay, so that the axes on which they are made fit."""
        least = max(group.size - self._most(group), self._held[int(group.cell[0])])
        slots = [(axis, divmod(group.slots[axis].position.size, group.size)) for axis in group.producers]
        if any(uneven for _, (_, uneven) in slots):
            return []
        fixed = [(self._channels.sizes[axis] - self._movable[axis], each) for axis, (each, _) in slots]
        return [
            kept
            for kept in range(least, group.size + 1)
            if all((stays + kept * each) % self._limits.round_to == 0 for stays, each in fixed)
        ]

    def _bound(self, number: int, fraction: float) -> dict[int, int]:
        bundle, room = self._channels.bundles[number], self._room(number)
        removed = None if fraction else np.zeros_like(bundle.cells)  # what loses nothing is not rounded either
        if removed is None and bundle.fineness:
            wanted = share(bundle.fineness, fraction)
            by_distance = sorted(range(bundle.fineness), key=lambda steps: (abs(steps - wanted), steps))
            fitting = (steps * bundle.sizes // bundle.fineness for steps in by_distance)
            removed = next((one for one in fitting if room.admits(one)), None)
        if removed is None:
            removed = program(bundle, room, fraction)
        return dict(zip(bundle.cells.tolist(), removed.tolist(), strict=True))

    def _room(self, number: int) -> Room:
        """What a bundle's numbers have to satisfy beside its equations."""
        bundle, limits = self._channels.bundles[number], self._limits
        members = [group for group in self._channels.groups if group.bundle == number]
        axes, making = dict[Axis, Ints](), set[Axis]()  # positions that a unit of each cell has on each axis
        for group in members:
            cell = np.searchsorted(bundle.cells, group.cell)
            making.update(group.producers)
            for axis, slots in group.slots.items():
                row = axes.setdefault(axis, np.zeros(bundle.cells.size, dtype=np.int64))
                row += np.bincount(cell[slots.unit], minlength=row.size) // bundle.sizes
        lengths = np.array([self._channels.sizes[axis] for axis in axes])
        rounded = [axis for axis in axes if axis in making and limits.round_to > 1]
        floors = members if number in limits.most else []
        none = np.zeros((0, bundle.cells.size), dtype=np.int64)
        return Room(
            rows=np.stack([*axes.values(), *(np.isin(bundle.cells, group.cell).astype(np.int64) for group in floors)]),
            most=np.concatenate([lengths - 1, np.array([self._most(group) for group in floors], dtype=np.int64)]),
            free=bundle.sizes - np.array([self._held[cell] for cell in bundle.cells.tolist()]),
            widths=np.stack([axes[axis] for axis in rounded]) if rounded else none,
            # Other bundles leave multiples of their own.
            lengths=np.array(
                [self._channels.sizes[axis] - self._movable[axis] + int(axes[axis] @ bundle.sizes) for axis in rounded],
                dtype=np.int64,
            ),
            multiple=limits.round_to,
        )


def _movable(channels: Channels) -> Counter[Axis]:
    """Positions of every axis that may go at all."""
    found = Counter[Axis]()
    for group in channels.groups:
        found.update({axis: slots.position.size for axis, slots in group.slots.items()})
    return found

"""Numbers in the user's code: followed through a trace, coupled to the channels that they count, and set after the cut.

`Numbers` listens during a trace: it hands out tracked integers in place of those that modules hold and of the lengths
of axes, and notes an equation wherever one arrives as a size. `Integers` is what remains of that: frozen, and asked for
the new values once it is known which positions stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coppice.channels import Channels, Labels
from coppice.tracing.equations import NONE, Apart, Binding, Equation, kept_sizes, solved, violated
from coppice.tracing.expressions import Attribute, Leaf, Length, leaves
from coppice.tracing.places import Holder, Inside, replaced

#: tensor -> axis -> positions that stay: `Plan.kept`.
Kept = Mapping[str, Mapping[int, Sequence[int]]]
#: module -> attribute -> new value: `Plan.attributes`.
Attributes = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """Positions that may have to stay because the code counts them with a number that can't follow."""

    units: Labels
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A size in the code that no value of the attributes makes right, and the units that it counts."""

    units: Labels
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """The numbers in a model's code and the axes that they count."""

    holders: tuple[Holder, ...]
    places: tuple[tuple[int, Inside, int], ...]  # per attribute number: its holder, where inside, the value
    vectors: tuple[Labels, ...]
    equations: tuple[Equation, ...]
    bindings: tuple[Binding, ...]
    apart: tuple[Apart, ...]
    suspects: tuple[Suspect, ...]
    units: Labels
    stored: Mapping[tuple[str, int], Labels]

    def attributes(self, kept: Kept) -> Attributes:
        """The new values of attributes when only the positions `kept` stay; those that don't change are left out."""
        values, _ = self._values(kept)
        changed: dict[int, dict[Inside, int]] = {}
        for place, new in values.items():
            holder, inside, old = self.places[place]
            if new != old:
                changed.setdefault(holder, {})[inside] = new
        found: Attributes = {}
        for number, news in changed.items():
            holder_of = self.holders[number]
            value = replaced(holder_of.value, lambda inside, old, news=news: news.get(inside, old))  # type: ignore[misc]
            found.setdefault(holder_of.module, {})[holder_of.attribute] = value
        return found

    def conflicts(self, kept: Kept) -> tuple[Conflict, ...]:
        """The sizes in the code that would be wrong if only the positions `kept` stayed."""
        values, sizes = self._values(kept)
        found = []
        for equation, sides in violated(self.equations, _lookup(values, sizes)):
            counted = [leaf.vector for leaf in leaves(equation.right) if isinstance(leaf, Length)]
            units = np.unique(
                np.concatenate([self.units[self.vectors[vector]] for vector in counted if vector != NONE])
            )
            reason = f"a size in the code would be {sides['left']} where {sides['right']} channels are left"
            found.append(Conflict(units=units, reason=f"{reason}: {equation.site}"))
        return tuple(found)

    def groups_of(self, channels: Channels, units: Labels) -> set[int]:
        """The numbers of the groups in which any of the units lies."""
        found = set()
        for number, group in enumerate(channels.groups):
            (axis, slots), *_ = group.slots.items()
            if np.isin(self.units[self.stored[axis][slots.position]], units).any():
                found.add(number)
        return found

    def _values(self, kept: Kept) -> tuple[dict[int, int], list[int]]:
        removed = [np.zeros(0, np.int64)]
        for tensor, axes in kept.items():
            for axis, stays in axes.items():
                labels = self.stored[tensor, axis]
                gone = np.ones(labels.size, dtype=bool)
                gone[list(stays)] = False
                removed.append(self.units[labels[gone]])
        sizes = kept_sizes(self.vectors, self.units, np.unique(np.concatenate(removed)))
        values: dict[int, int] = {}
        for binding in self.bindings:
            new = solved(binding.equation, binding.place, _lookup(values, sizes))
            if new is not None and binding.place not in values:
                values[binding.place] = new
        for one in self.apart:
            if one.attribute.place not in values and (new := one.moved(_lookup(values, sizes))) is not None:
                values[one.attribute.place] = new
        return values, sizes


def _lookup(values: Mapping[int, int], sizes: Sequence[int]) -> Callable[[Leaf], int]:
    def value(leaf: Leaf) -> int:
        if isinstance(leaf, Attribute):
            return values.get(leaf.place, leaf.value)
        return leaf.value if leaf.vector == NONE else sizes[leaf.vector]

    return value

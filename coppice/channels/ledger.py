"""The ledger of a trace: which positions are one unit, which stay, and why.

>>> ledger = Ledger()
>>> (out, _), (_, into) = ledger.declare("a.weight", (4, 3)), ledger.declare("b.weight", (2, 4))
>>> ledger.use("a.weight"), ledger.use("b.weight")
(None, None)
>>> ledger.produces(out)
>>> ledger.contract(out, into)
>>> [group.axes for group in ledger.settle().groups]
[(('a.weight', 0), ('b.weight', 1))]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntFlag
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from coppice.channels.groups import Channels, connected, settle
from coppice.channels.shares import FIXED, EqualShares, tied
from coppice.channels.stacks import Stacks

#: One label per position of an axis; FIXED marks a position that no plan removes.
Labels = NDArray[np.int64]
#: The labels of a whole tensor, one vector per axis.
Axes = tuple[Labels, ...]

T = TypeVar("T")


class Role(IntFlag):
    """What an operation does with a position of a weight."""

    NONE = 0
    PRODUCES = 1  # the position makes a channel: an output filter
    CONSUMES = 2  # the position reads a channel: an input slice
    SCALES = 4  # the position is the factor that a batch norm gives a channel


class Ledger:
    """Collects ties, fixes and roles during a trace; `settle` turns them into groups.

    `where` names the operation at work, for reasons; the tracer sets it before each rule.
    """

    def __init__(self) -> None:
        self.where = ""
        self._next = 1
        self._slots: list[tuple[str, int, int, int]] = []  # tensor, axis, first label, length
        self._ties: list[tuple[Labels, Labels]] = []
        self._fixes: list[tuple[Labels, str]] = []
        self._roles: list[tuple[Labels, Role]] = []
        self._mixes: list[tuple[Labels, str]] = []
        self._outputs: list[tuple[Labels, str]] = []
        self._shares: list[EqualShares] = []
        self._stacks = Stacks()
        self._used: set[str] = set()

    def declare(self, tensor: str, shape: tuple[int, ...]) -> Axes:
        """Fresh labels for every axis of a stored tensor: its slots."""
        axes = []
        for axis, length in enumerate(shape):
            self._slots.append((tensor, axis, self._next, length))
            axes.append(self.fresh(length))
        return tuple(axes)

    def fresh(self, length: int) -> Labels:
        """Labels that are bound to no stored tensor: positions that may follow whatever they are tied to."""
        labels = np.arange(self._next, self._next + length, dtype=np.int64)
        self._next += length
        return labels

    def use(self, tensor: str) -> None:
        """Note that an operation has read the tensor."""
        self._used.add(tensor)

    def tie(self, a: Labels, b: Labels) -> Labels:
        """Positions `a[i]` and `b[i]` go together or stay together; both have the same length.

        Gives the labels of what comes of them: FIXED wherever one side is, else those of `a`.
        """
        if a is b or np.array_equal(a, b):
            return a
        pairs, alone = tied(a, b)
        self._ties.append(pairs)
        self._stay(alone, f"combined with a fixed position in {self.where}")
        return a if pairs[0].size == a.size else np.where(b == FIXED, FIXED, a)

    def fix(self, labels: Labels, reason: str) -> None:
        """These positions stay; the reason is shown to the user, followed by where it arose."""
        self._stay(labels, f"{reason} ({self.where})" if self.where else reason)

    def output(self, labels: Labels) -> None:
        """The positions leave the model: they stay, and of all reasons this is the one that is told."""
        self._outputs.append((labels[labels != FIXED], "output of the model"))

    def _stay(self, labels: Labels, reason: str) -> None:
        labels = labels[labels != FIXED]
        if labels.size:
            self._fixes.append((labels, reason))

    def contract(self, a: Labels, b: Labels) -> None:
        """The positions are multiplied and summed: tied, and consumed on both sides."""
        self.tie(a, b)
        self._roles += [(a, Role.CONSUMES), (b, Role.CONSUMES)]

    def produces(self, labels: Labels) -> None:
        """The positions are output filters of a contraction."""
        self._roles.append((labels, Role.PRODUCES))

    def scales(self, labels: Labels) -> None:
        """The positions are factors of a batch norm, one for each channel."""
        self._roles.append((labels, Role.SCALES))

    def bare(self, labels: Labels) -> bool:
        """Whether the positions are those of stored tensors, and no operation so far has made channels of them."""
        declared = any(first <= label < first + length for label in labels[:1] for _, _, first, length in self._slots)
        return declared and not any(role & Role.PRODUCES and np.isin(labels, made).any() for made, role in self._roles)

    def mixes(self, labels: Labels, reason: str) -> None:
        """A statistic runs over these positions, so that removing some changes what the others become."""
        self._mixes.append((labels, reason))

    def couple(self, a: Labels, b: Labels, reason: str) -> None:
        """The same share of both stays: the code takes the length of one for that of the other.

        Where that can't be had both stay whole, and the reason is shown to the user.
        """
        self._shares.append(EqualShares(blocks=(a, b), reason=f"{reason} ({self.where})" if self.where else reason))

    def balance(self, blocks: Sequence[Labels]) -> None:
        """Each of these equally long blocks keeps the same number of positions."""
        self._shares.append(EqualShares(blocks=tuple(blocks), reason=f"as wide as a block that stays ({self.where})"))

    def stack(self, blocks: Labels, *, balanced: bool = True) -> Labels:
        """Labels for an axis that holds other channels in each block; `blocks` has a row for each.

        Unless `balanced` is false (it is said elsewhere), each block keeps the same number of positions.
        """
        own = self.fresh(blocks.shape[1])
        self._stacks.add(own, blocks)
        if balanced:
            self.balance(tuple(blocks))
        return own

    def flatten(self, labels: Labels) -> None:
        """Tie what lies beneath stacked labels: the same positions stay in every block."""
        self._ties += [(np.tile(own, len(blocks)), blocks.ravel()) for own, blocks in self._stacks.beneath(labels)]

    def through(self, labels: Labels) -> Labels:
        """Labels of stored tensors, as many of which stay as of these."""
        return self._stacks.through(labels)

    def units(self) -> Labels:
        """The unit of every label, by the ties so far."""
        self._reach_beneath()
        return connected(self._next, self._ties)

    def stored(self) -> Iterator[tuple[str, int, Labels]]:
        """The labels of every axis of every stored tensor."""
        for tensor, axis, first, length in self._slots:
            yield tensor, axis, np.arange(first, first + length, dtype=np.int64)

    def held(self) -> Labels:
        """Every label that is to stay, so far; whatever is tied to one stays too."""
        found = [labels for labels, _ in (*self._fixes, *self._outputs)]
        return np.concatenate([np.array([FIXED]), *found])

    def _reach_beneath(self) -> None:
        """What was noted of stacked labels is noted of those beneath; stacked ones that were tied are flattened."""
        if not self._stacks:
            return
        named = np.zeros(self._next, dtype=bool)
        for pair in self._ties:
            for labels in pair:
                named[labels] = True
        for one in self._shares:
            for labels in one.blocks:
                named[labels] = True
        self.flatten(np.flatnonzero(named))
        stacked = self._stacks.table(self._next)
        self._fixes += self._beneath(self._fixes, stacked)
        self._outputs += self._beneath(self._outputs, stacked)
        self._roles += self._beneath(self._roles, stacked)
        self._mixes += self._beneath(self._mixes, stacked)

    def _beneath(self, notes: Sequence[tuple[Labels, T]], stacked: NDArray[np.bool_]) -> list[tuple[Labels, T]]:
        return [
            (blocks.ravel(), said)
            for labels, said in notes
            if stacked[labels].any()
            for _, blocks in self._stacks.beneath(labels)
        ]

    def settle(self) -> Channels:
        """The units and groups that follow from everything noted so far."""
        self._reach_beneath()
        last_axis = {name: axis for name, axis, *_ in self._slots if name not in self._used}
        unused = [
            (axis, np.arange(first, first + n), last_axis[name])
            for name, axis, first, n in self._slots
            if name in last_axis
        ]
        left = [(labels, "not run on the example input, so left as it is") for _, labels, _ in unused]
        # The report lists what makes channels: of a layer that was not run, that is the first axis of its weight.
        listed = [(labels, Role.PRODUCES) for axis, labels, last in unused if axis == 0 < last]
        fixes = self._outputs + self._fixes + left
        return settle(self._next, self._slots, self._ties, fixes, self._roles + listed, self._mixes, self._shares)

"""spread: which fraction of every bundle goes, as the request spreads the cut over the groups.

A way is a line of steps from nothing removed to all that may be; each step is a fraction for every bundle. `uniform`
raises all alike. `global` takes a unit at a time where the model misses it least: by score, or by score for what it
costs in the terms of the target (parameters, multiply-accumulates), whose prices fall as the widths shrink.

Scores that are shares of a group's mean say nothing of what the loss of a whole group does: with prices, the dearest
groups would go down to their floors, one after the other. There a unit counts for how much its going raises the
inverse of the share of the group's scores that is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coppice.channels import Channels, Group
from coppice.steps.allocate import Fractions, Limits
from coppice.steps.price import Prices
from coppice.steps.score import Scores

Ints = NDArray[np.int64]

#: A global cut takes no more than this of any group: without it, whole branches of a concatenation went.
MOST = 0.8
#: Steps of a uniform way: one is less than a channel of any layer.
STEPS = 100_000
#: How often prices are counted again on a way: every hundredth of it.
RECOUNTS = 100


class Way(Protocol):
    """A line of cuts, each larger than the one before."""

    @property
    def steps(self) -> int:
        """How many there are."""

    def at(self, step: int) -> Fractions:
        """What is asked of every bundle after so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """The same fraction of every bundle, up to `top`; those in `given` lose what is said there."""

    bundles: Sequence[int]
    given: Fractions
    top: float
    steps: int = STEPS

    def at(self, step: int) -> Fractions:
        """`top * step / steps` of every bundle."""
        return {**dict.fromkeys(self.bundles, self.top * (step / self.steps)), **self.given}


@dataclass(frozen=True, kw_only=True)
class Global:
    """A unit at a time, in the order in which the bundles are drawn on.

    Bundles in `even` lose the share that the others lose on average; those in `given`, what is said there.
    """

    bundles: Sequence[int]
    given: Fractions
    even: frozenset[int]
    order: Ints  # bundle of each step
    rungs: Mapping[int, int]  # steps in which a bundle would be gone

    @property
    def steps(self) -> int:
        """All that the floors leave."""
        return self.order.size

    def at(self, step: int) -> Fractions:
        """What each bundle has lost by then."""
        bundles, counts = np.unique(self.order[:step], return_counts=True)
        lost = zip(bundles.tolist(), counts.tolist(), strict=True)
        average = step / max(1, self._all)
        return {
            **dict.fromkeys(self.bundles, 0.0),
            **dict.fromkeys(self.even, min(average, MOST)),
            **{bundle: count / self.rungs[bundle] for bundle, count in lost},
            **self.given,
        }

    @cached_property
    def _all(self) -> int:
        return sum(self.rungs.values())


def globally(
    channels: Channels,
    scores: Scores,
    limits: Limits,
    pool: Sequence[int],
    *,
    given: Fractions,
    even: frozenset[int],
    prices: Prices | None,
    relative: bool,
) -> Global:
    """The way through the groups of `pool`, by score for each unit, or for what it costs where there are `prices`.

    `even` are bundles whose scores compare with no other's; `relative`: whether scores are shares of a group's mean.
    """
    remaining = relative and prices is not None
    members: dict[int, list[int]] = {}
    for number in pool:
        members.setdefault(channels.groups[number].bundle, []).append(number)
    members = {bundle: inside for bundle, inside in members.items() if bundle not in given}
    ladders = [
        _ladder(channels, bundle, inside, scores, limits, remaining=remaining)
        for bundle, inside in members.items()
        if bundle not in even
    ]
    return Global(
        bundles=[group.bundle for group in channels.groups],
        given=given,
        even=even & members.keys(),
        order=_order(ladders, prices),
        rungs={ladder.bundle: ladder.rungs for ladder in ladders},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ladder:
    """One bundle's way: what each step costs the model, and how much of every tensor it takes."""

    bundle: int
    rungs: int
    units: float  # that a step removes
    harm: NDArray[np.float64]  # of each step that the limits allow: the scores of what it removes
    takes: Mapping[str, Mapping[int, float]]  # tensor -> axis -> positions per step


def _ladder(
    channels: Channels, bundle: int, members: Sequence[int], scores: Scores, limits: Limits, *, remaining: bool
) -> _Ladder:
    groups = [channels.groups[number] for number in members]
    cells = {
        (number, cell): np.flatnonzero(channels.groups[number].cell == cell)
        for number in members
        for cell in np.unique(channels.groups[number].cell).tolist()
    }
    bound = channels.bundles.get(bundle)
    rungs = (bound.fineness if bound else 0) or max(inside.size for inside in cells.values())
    steps, harm, lost = rungs, np.zeros(rungs + 1), dict.fromkeys(members, np.zeros(rungs + 1, dtype=np.int64))
    for (number, _), inside in cells.items():
        stay = limits.kept.get(number)
        free = inside if stay is None else inside[~stay[inside]]
        gone = (2 * np.arange(rungs + 1) * inside.size + rungs) // (2 * rungs)  # nearest to k / rungs of the cell
        summed = np.concatenate([[0.0], np.cumsum(np.sort(scores[number][free]))])
        harm += summed[np.minimum(gone, free.size)]
        steps = min(steps, int(np.searchsorted(gone, free.size, side="right")) - 1)
        lost[number] = lost[number] + gone
    for number, gone in lost.items():
        most = min(int(limits.most.get(bundle, 1.0) * channels.groups[number].size), channels.groups[number].size - 1)
        steps = min(steps, int(np.searchsorted(gone, most, side="right")) - 1)
    whole = sum(scores[number].sum() for number in members)
    left = np.maximum(whole - harm[:-1], np.finfo(float).eps * whole)
    return _Ladder(
        bundle=bundle,
        rungs=rungs,
        units=sum(group.size for group in groups) / rungs,
        harm=(np.diff(harm) * whole / np.square(left) if remaining and whole else np.diff(harm))[:steps],
        takes=_takes(groups, rungs),
    )


def _takes(groups: Sequence[Group], rungs: int) -> Mapping[str, Mapping[int, float]]:
    takes: dict[str, dict[int, float]] = {}
    for group in groups:
        for (tensor, axis), slots in group.slots.items():
            along = takes.setdefault(tensor, {})
            along[axis] = along.get(axis, 0.0) + slots.position.size / rungs
    return takes


def _order(ladders: Sequence[_Ladder], prices: Prices | None) -> Ints:
    """The bundles in the order in which a greedy cut draws on them: least harm for the price first."""
    market = _Market(prices)
    taken = [0] * len(ladders)
    order: list[int] = []
    batch = max(1, sum(ladder.harm.size for ladder in ladders) // RECOUNTS)
    while True:
        costs = [market.price(ladder) for ladder in ladders]
        heap = [
            (ladder.harm[done] / cost, number)
            for number, (ladder, done, cost) in enumerate(zip(ladders, taken, costs, strict=True))
            if done < ladder.harm.size and cost > 0  # what wins nothing is left
        ]
        if not heap:
            return np.array(order, dtype=np.int64)
        heapq.heapify(heap)
        for _ in range(batch):
            if not heap:
                break
            number = heap[0][1]
            ladder = ladders[number]
            order.append(ladder.bundle)
            market.take(ladder)
            taken[number] += 1
            if taken[number] < ladder.harm.size:
                heapq.heapreplace(heap, (ladder.harm[taken[number]] / costs[number], number))
            else:
                heapq.heappop(heap)


class _Market:
    """Prices of steps at the widths that are left."""

    def __init__(self, prices: Prices | None) -> None:
        self._prices = prices
        shapes = prices.shapes if prices else {}
        self._left = {name: [float(length) for length in shape] for name, shape in shapes.items()}

    def price(self, ladder: _Ladder) -> float:
        """What one more step of this bundle saves; a unit is one where nothing else has a price."""
        if self._prices is None:
            return ladder.units
        saved = 0.0
        for name, along in ladder.takes.items():
            if each := self._prices.each.get(name):
                left = self._left[name]
                stays = prod(max(0.0, 1 - positions / left[axis]) for axis, positions in along.items() if left[axis])
                saved += each * prod(left) * (1 - stays)
        return saved

    def take(self, ladder: _Ladder) -> None:
        """Note that a step of this bundle has been taken."""
        if self._prices is not None:
            for name, along in ladder.takes.items():
                for axis, positions in along.items():
                    self._left[name][axis] = max(0.0, self._left[name][axis] - positions)

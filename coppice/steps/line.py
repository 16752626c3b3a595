"""line: the cuts of one model along a way, each as a plan and as a module, and how a step on it is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from torch import nn

from coppice.channels import Group
from coppice.records.plan import Plan
from coppice.steps.account import Names
from coppice.steps.allocate import Allocation
from coppice.steps.apply import apply
from coppice.steps.make_plan import complete_plan
from coppice.steps.restore import Basis
from coppice.steps.score import Scored
from coppice.steps.spread import Way
from coppice.tracing import Network, Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A model that was traced and scored: what all cuts of it share."""

    network: Network
    traced: Traced
    names: Names
    scored: Scored
    omitted: Mapping[int, str]  # groups that the request leaves out, and how the report says so
    basis: Basis | None  # what repairs share; None where there are no samples

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of the trace."""
        return self.traced.channels.groups


class Line:
    """What each step of a way makes of the groups in `pool`; `start` knows the limits.

    Of the groups in `counted` the request asks a share in all; of the others, ratios of their own.
    """

    def __init__(
        self,
        model: Prepared,
        way: Way,
        *,
        start: Allocation,
        pool: Sequence[int],
        counted: Sequence[int],
    ) -> None:
        self.model = model
        self.steps = way.steps
        self.total = sum(model.groups[number].size for number in counted)
        self._way, self._start, self._pool, self._counted = way, start, pool, counted
        self.allocation = cache(self._allocation)
        self.plan = cache(self._plan)

    def removed(self, step: int) -> int:
        """Units that go of the groups that are counted."""
        return sum(self.allocation(step).total(self.model.groups[number]) for number in self._counted)

    def drawn(self, step: int) -> int:
        """As `removed`, but before widths are rounded, each to the nearest multiple of what it was to be."""
        if self._start.limits.round_to == 1:
            return self.removed(step)
        return sum(self.allocation(step).asked(self.model.groups[number]) for number in self._counted)

    def module(self, step: int) -> nn.Module:
        """The model cut so far, not verified."""
        return apply(self.model.network.module, self.plan(step))

    def _allocation(self, step: int) -> Allocation:
        return self._start.moved(self._way.at(step))

    def _plan(self, step: int) -> Plan:
        return complete_plan(self.model.traced, self.model.scored.scores, self.allocation(step), self._pool)


def first(steps: int, reached: Callable[[int], bool]) -> int | None:
    """The first step of 0 to `steps` from which on a goal is reached, by halving; None where the last does not."""
    if not reached(steps):
        return None
    return _between(-1, steps, reached, at_most=steps.bit_length() + 1)


def nearby(start: int, steps: int, reached: Callable[[int], bool], *, at_most: int) -> int | None:
    """As `first`, from a guess and with that many tries or few more; the goal is reached wherever it ends."""
    tried = cache(reached)
    stride, low, high = max(1, steps // 50), start, start
    if tried(start):
        while low >= 0 and tried(low):
            low, high, stride = low - stride, low, 2 * stride
    else:
        while not tried(high):
            if high == steps:
                return None
            low, high, stride = high, min(high + stride, steps), 2 * stride
    return _between(max(low, -1), high, tried, at_most=at_most - tried.cache_info().misses)


def _between(low: int, high: int, reached: Callable[[int], bool], *, at_most: int) -> int:
    """Halve what lies between a step that does not reach the goal and one that does."""
    for _ in range(at_most):
        if high - low <= 1:
            break
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high

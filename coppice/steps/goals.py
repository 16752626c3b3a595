"""goals: where on a line of cuts the one lies that a request means.

Each goal first aims by arithmetic on plans. Once the oracle has accepted that cut, the goal settles: multiply-
accumulates are counted and latency is measured of the cut model, and a loss is judged on repaired ones, which may lead
to another step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Protocol

from torch import nn

from coppice.errors import TargetUnreachable
from coppice.records.report import Quality, Trial
from coppice.records.request import Request, Spread, Target
from coppice.steps.allocate import share
from coppice.steps.drop import largest_within, missing
from coppice.steps.line import Line, Prepared, first, nearby
from coppice.steps.macs import count_macs
from coppice.steps.measure import measure
from coppice.steps.price import PRICES, Prices
from coppice.steps.restore import restore
from coppice.tracing import Network

#: Shares that differ by less are the same: sums of floating-point numbers.
ROUNDING = 1e-9
#: Cut models that are made to be counted or timed, or few more.
TRIED = 12

#: How notes and errors name what a target counts.
WORDS: Mapping[Target, str] = {
    Target.CHANNELS: "the channels",
    Target.PARAMS: "the parameters",
    Target.MACS: "the multiply-accumulates",
    Target.BYTES: "the bytes",
    Target.LATENCY: "the time of one sample",
}


class Goal(Protocol):
    """What a request wants of a line of cuts."""

    @property
    def prices(self) -> Prices | None:
        """What a global spread weighs scores by; None: every channel is worth one."""

    def aim(self, line: Line) -> int:
        """The step that arithmetic tells; raises TargetUnreachable."""

    def settle(self, line: Line, step: int, /) -> tuple[int, tuple[Trial, ...]]:
        """The step that models tell, and what was tried; raises TargetUnreachable."""

    def note(self, model: Prepared, module: nn.Module) -> str | None:
        """What has come of it; raises TargetUnreachable where the cut model falls short."""


class Channels:
    """`percent` of all channels, wherever they are."""

    prices = None

    def __init__(self, request: Request) -> None:
        self._percent = request.percent

    def aim(self, line: Line) -> int:
        """As many channels as `percent` of all."""
        step = first(line.steps, lambda at: line.drawn(at) >= share(line.total, self._percent))
        if step is None:
            raise unreachable(Target.CHANNELS, self._percent, line.drawn(line.steps) / line.total)
        return step

    def settle(self, _: Line, step: int, /) -> tuple[int, tuple[Trial, ...]]:
        """Nothing else is to be known."""
        return step, ()

    def note(self, model: Prepared, module: nn.Module) -> str | None:
        """The report's groups say it all."""


class Drop:
    """The largest cut, of `percent` of the channels at most, whose loss is no more than `max_drop`."""

    prices = None

    def __init__(self, request: Request) -> None:
        self._request, self._limit = request, request.max_drop or 0.0

    def aim(self, line: Line) -> int:
        """`percent` of the channels, or as many as may go."""
        if self._request.spread is Spread.UNIFORM:
            return line.steps
        step = first(line.steps, lambda at: line.drawn(at) >= share(line.total, self._request.percent))
        return line.steps if step is None else step

    def settle(self, line: Line, step: int, /) -> tuple[int, tuple[Trial, ...]]:
        """The largest within the limit."""
        return largest_within(self._limit, step, lambda at: self._judged(line, at))

    def note(self, model: Prepared, module: nn.Module) -> str | None:
        """The report's trials and quality say it all."""

    def _judged(self, line: Line, step: int) -> tuple[float, int, Quality]:
        module, model = line.module(step), line.model
        restored = restore(model.network, model.basis, module, line.plan(step), wanted=self._request.restore)
        if restored.quality is None:
            raise missing()
        parameters = sum(entry.numel() for entry in module.parameters())
        return line.removed(step) / max(1, line.total), parameters, restored.quality


class Saving:
    """`percent` of what the plan tells: parameters, bytes."""

    def __init__(self, model: Prepared, request: Request) -> None:
        self.prices: Prices = PRICES[request.target](model.network)
        self._target, self._percent = request.target, request.percent

    def aim(self, line: Line) -> int:
        """The first step that saves enough."""
        step = first(line.steps, lambda at: self._enough(self.prices.saved(line.plan(at).kept)))
        if step is None:
            raise self._short(self.prices.saved(line.plan(line.steps).kept))
        return step

    def settle(self, _: Line, step: int, /) -> tuple[int, tuple[Trial, ...]]:
        """What was computed is so."""
        return step, ()

    def note(self, model: Prepared, module: nn.Module) -> str:
        """What was saved."""
        saved = self._saved(model.network, module)
        if not self._enough(saved):
            raise self._short(saved)
        return self._told(saved)

    def _enough(self, saved: float) -> bool:
        return saved >= self._percent - ROUNDING

    def _short(self, saved: float) -> TargetUnreachable:
        return unreachable(self._target, self._percent, saved)

    def _told(self, saved: float) -> str:
        return f"target={self._target}: {saved:.2%} of {WORDS[self._target]} went, of {self._percent:.2%} asked."

    def _saved(self, network: Network, module: nn.Module) -> float:
        return MEASURES[self._target](network, module)


class Measured(Saving):
    """`percent` of what only the cut model tells: multiply-accumulates, of attention, say, and latency."""

    def aim(self, line: Line) -> int:
        """Where the first step lies if the model of the multiply-accumulates is right."""
        step = first(line.steps, lambda at: self._enough(self.prices.saved(line.plan(at).kept)))
        return line.steps if step is None else step

    def settle(self, line: Line, step: int, /) -> tuple[int, tuple[Trial, ...]]:
        """The first step that does save enough, as near as the tries allow."""
        saved = cache(lambda at: self._saved(line.model.network, line.module(at)))
        exact = self._target is Target.MACS and abs(saved(step) - self.prices.saved(line.plan(step).kept)) < ROUNDING
        if exact and self._enough(saved(step)):
            return step, ()
        found = nearby(step, line.steps, lambda at: self._enough(saved(at)), at_most=TRIED)
        if found is None:
            raise self._short(saved(line.steps))
        return found, ()


class Timed(Measured):
    """`percent` of the latency, as well as a clock can tell."""

    def note(self, model: Prepared, module: nn.Module) -> str:
        """What was saved, and that it may not be so again."""
        told = self._told(self._saved(model.network, module))
        return f"{told} Times differ from run to run and between machines, and so may cuts that they decide."


def goal(model: Prepared, request: Request) -> Goal:
    """What the request wants."""
    if request.max_drop is not None:
        return Drop(request)
    return Channels(request) if request.target is Target.CHANNELS else GOALS[request.target](model, request)


#: The goals of targets that have a price.
GOALS: Mapping[Target, type[Saving]] = {
    Target.PARAMS: Saving,
    Target.BYTES: Saving,
    Target.MACS: Measured,
    Target.LATENCY: Timed,
}


def unreachable(target: Target, percent: float, reach: float) -> TargetUnreachable:
    """The error that says what can be reached, rounded down so that it can be asked for."""
    most = math.floor(reach * 10_000) / 10_000
    return TargetUnreachable(
        f"target={target}, percent={percent:g} can't be reached: at most {most:.2%} of {WORDS[target]} can go.",
        field="percent",
    )


def _latency(network: Network, module: nn.Module) -> float:
    before, after = measure(network, module)
    return 1 - (after.latency_ms or 0.0) / before.latency_ms if before.latency_ms else 0.0


def _macs(network: Network, module: nn.Module) -> float:
    before = count_macs(network.module, network.sample)
    return 1 - count_macs(module, network.sample) / before if before else 0.0


def _parameters(network: Network, module: nn.Module) -> float:
    before, after = (sum(entry.numel() for entry in one.parameters()) for one in (network.module, module))
    return 1 - after / before if before else 0.0


def _bytes(network: Network, module: nn.Module) -> float:
    before, after = (
        sum(entry.numel() * entry.element_size() for entry in [*one.parameters(), *one.buffers()])
        for one in (network.module, module)
    )
    return 1 - after / before if before else 0.0


#: The share of each that a cut model does without.
MEASURES: Mapping[Target, Callable[[Network, nn.Module], float]] = {
    Target.PARAMS: _parameters,
    Target.BYTES: _bytes,
    Target.MACS: _macs,
    Target.LATENCY: _latency,
}

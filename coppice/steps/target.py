"""target: from a request to the cut that does what it asks, no less and hardly more.

A way (see `spread`) is a line of cuts, each larger than the one before; a goal (see `goals`) finds the step on it that
the request means. The oracle judges that cut. Groups that it refuses are left out, and the others make up for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coppice.channels import Channels
from coppice.criteria import criterion
from coppice.errors import TargetUnreachable
from coppice.records.report import Trial
from coppice.records.request import Request, Spread, Target
from coppice.steps.account import Names
from coppice.steps.allocate import Allocation, Fractions, Limits, uniform
from coppice.steps.drop import missing
from coppice.steps.goals import Goal, goal
from coppice.steps.line import Line, Prepared
from coppice.steps.search import Cut, largest_cut
from coppice.steps.spread import MOST, Uniform, Way, globally
from coppice.steps.wishes import kept, ratios

#: How often the other groups make up for what the oracle refuses.
ROUNDS = 4
#: Groups named in an error.
NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The cut, what was asked of every group to get there, and why some of them had to stay whole."""

    cut: Cut
    allocation: Allocation
    refused: Mapping[int, str]
    notes: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()


def allocated(request: Request, channels: Channels, names: Names) -> Allocation:
    """What the request asks if every group loses `percent` of its channels, or its own ratio."""
    given = ratios(request.ratios, channels, names)
    free = {group.bundle for group in channels.groups} - given.keys()
    limits = Limits(
        round_to=request.round_to,
        most=dict.fromkeys(free, MOST) if request.spread is Spread.GLOBAL else {},
        kept=kept(request.keep, channels, names),
    )
    return Allocation(channels, {**uniform(channels, request.percent), **given}, limits)


def find(model: Prepared, request: Request) -> Found:
    """The largest verified cut that does what the request asks.

    Raises TargetUnreachable, SamplesMissing, UnknownLayer or ParameterInvalid.
    """
    if request.max_drop is not None and model.basis is None:
        raise missing()
    start = allocated(request, model.traced.channels, model.names)
    if (request.spread, request.target, request.max_drop) == (Spread.UNIFORM, Target.CHANNELS, None):
        cut, refused = _cut(model, start, {})
        return Found(cut=cut, allocation=start, refused=refused)
    refused = {}
    try:
        return _found(model, request, start, refused)
    except TargetUnreachable as e:
        if request.max_drop is not None:
            raise
        raise TargetUnreachable(e.message + _staying(model, request, refused), field=e.field) from e


def _found(model: Prepared, request: Request, start: Allocation, refused: dict[int, str]) -> Found:
    """Round after round, until the oracle refuses nothing of a cut that is what the request means."""
    wanted = goal(model, request)
    given = dict(ratios(request.ratios, model.traced.channels, model.names))
    counted = [number for number, group in enumerate(model.groups) if group.bundle not in given]
    for _ in range(ROUNDS):
        pool = [number for number in range(len(model.groups)) if number not in model.omitted.keys() | refused.keys()]
        way = _way(model, request, wanted, start, pool, given)
        line = Line(model, way, start=start, pool=pool, counted=[number for number in pool if number in counted])
        step, trials = wanted.aim(line), tuple[Trial, ...]()
        cut, no = _cut(model, line.allocation(step), refused)
        if not no:
            settled, trials = wanted.settle(line, step)
            if settled != step:
                step = settled
                cut, no = _cut(model, line.allocation(step), refused)
        refused |= no
        asked = line.allocation(step)
        given |= {model.groups[number].bundle: asked.fractions[model.groups[number].bundle] for number in no}
        if not no:
            break
    note = wanted.note(model, cut.module)
    notes = () if note is None else (note,)
    return Found(cut=cut, allocation=asked, refused=refused, notes=notes, trials=trials)


def _cut(model: Prepared, allocation: Allocation, refused: Mapping[int, str]) -> tuple[Cut, dict[int, str]]:
    """The largest verified cut of what is neither omitted nor refused."""
    whole = model.omitted.keys() | refused.keys()
    candidates = [number for number in range(len(model.groups)) if number not in whole]
    return largest_cut(model.network, model.traced, model.scored.scores, allocation, candidates)


def _way(model: Prepared, request: Request, wanted: Goal, start: Allocation, pool: list[int], given: Fractions) -> Way:
    channels = model.traced.channels
    if request.spread is Spread.UNIFORM:
        top = request.percent if wanted.prices is None else 1.0
        return Uniform(bundles=[group.bundle for group in channels.groups], given=given, top=top)
    even = frozenset(channels.groups[number].bundle for number in model.scored.alone)
    way = globally(
        channels,
        model.scored.scores,
        start.limits,
        pool,
        given=given,
        even=even,
        prices=wanted.prices,
        relative=not criterion(model.scored.criterion).losses,
    )
    # Where no group's scores compare with another's, all lose the same share.
    return way if way.steps else Uniform(bundles=way.bundles, given=given, top=MOST)


def _staying(model: Prepared, request: Request, refused: Mapping[int, str]) -> str:
    """Why no more can go, in sentences."""
    held = {**model.omitted, **refused}
    told = [f"{model.names.producers(model.groups[number])[0]} ({reason})" for number, reason in held.items()]
    told += [f"{model.names.layer_of(entry.axis[0])} ({entry.reason})" for entry in model.traced.channels.frozen]
    told = list(dict.fromkeys(told))
    more = f", and {len(told) - NAMED} more" if len(told) > NAMED else ""
    floor = f" spread=global leaves {1 - MOST:.0%} of every group." if request.spread is Spread.GLOBAL else ""
    return floor + (f" These stay: {', '.join(told[:NAMED])}{more}." if told else "")

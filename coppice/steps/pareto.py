"""pareto: the points of a curve that no other point makes useless.

Point a makes point b useless if a is no worse in anything and better in something; points that are equal in everything
leave each other alone (Pareto, Manuale di economia politica, 1906, ch. 6, paragraph 33).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coppice.records.report import Fidelity
from coppice.records.sweep import Axis, Merit, Point

#: How a figure of fidelity becomes one of which less is better.
_LESS_IS_BETTER: dict[Merit, Callable[[float], float]] = {
    Merit.ACCURACY: lambda share: -share,
    Merit.ERROR: lambda error: error,
    Merit.AGREEMENT: lambda share: -share,
    Merit.DISTANCE: lambda distance: distance,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The points of a curve with their marks, and what quality was; None where there was none to judge by."""

    points: tuple[Point, ...]
    merit: Merit | None


def mark(points: Sequence[Point]) -> Marked:
    """Mark the points that stand on the front of each cost, and those that are optimal in all of them."""
    built = [point for point in points if point.fidelity is not None]
    merit = next((merit for merit in Merit if built and _figure(built[0].fidelity, merit) is not None), None)
    if merit is None:
        return Marked(points=tuple(points), merit=None)
    faults = [_fault(point, merit) for point in built]
    fronts = {axis: _front([point.shares.get(axis) for point in built], faults) for axis in Axis}
    # What a point was not measured in it wins nothing by.
    everything = useful(
        [
            (*(point.shares.get(axis, math.inf) for axis in Axis), fault)
            for point, fault in zip(built, faults, strict=True)
        ]
    )
    marks = iter(
        {"front": tuple(axis for axis in Axis if fronts[axis][number]), "optimal": everything[number]}
        for number in range(len(built))
    )
    marked = (point if point.fidelity is None else point.model_copy(update=next(marks)) for point in points)
    return Marked(points=tuple(marked), merit=merit)


def _front(shares: Sequence[float | None], faults: Sequence[float]) -> list[bool]:
    """Which points are on the front of one cost: of those that have it."""
    pairs = [(share, fault) for share, fault in zip(shares, faults, strict=True) if share is not None]
    kept = iter(useful(pairs))
    return [share is not None and next(kept) for share in shares]


def useful(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Which of some points, of whose every figure less is better, no other point makes useless."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def _figure(fidelity: Fidelity | None, merit: Merit) -> float | None:
    found: float | None = getattr(fidelity, merit.value)
    return found


def _fault(point: Point, merit: Merit) -> float:
    """Less is better; a model whose outputs are no numbers is as bad as can be."""
    figure = _figure(point.fidelity, merit)
    return math.inf if figure is None else _LESS_IS_BETTER[merit](figure)

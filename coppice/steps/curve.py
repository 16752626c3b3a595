"""curve: the table of a sweep's points, as the status message shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from coppice.records.figures import significant
from coppice.records.spot import WHOLE
from coppice.records.sweep import Axis, Merit, Point
from coppice.steps.pareto import Marked

_WHOLE = "whole model"


def table(marked: Marked) -> str:
    """A line for every point: what is left of each cost, how good it is, and whether another makes it useless."""
    merit = marked.merit
    built = [point for point in marked.points if point.error is None]
    columns = [column for column in _columns(built, merit) if any(map(column.of, built))]
    rows = [[column.head for column in columns], *([column.of(point) for column in columns] for point in built)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines[1:1] = ["=" * len(lines[0])]
    failed = [f"{point.spot.name}: no model. {point.error.message}" for point in marked.points if point.error]
    return "\n".join([*lines, *failed])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    head: str
    of: Callable[[Point], str]


def _columns(points: Sequence[Point], merit: Merit | None) -> Iterator[_Column]:
    yield _Column(head="removed", of=_removed)
    if any(point.spot.quantized for point in points):
        yield _Column(head="precision", of=lambda point: point.precision)
    for axis in Axis:
        yield _Column(head=axis, of=partial(_share, axis=axis))
    if merit is not None:
        yield _Column(head=merit, of=partial(figure, merit=merit))
        yield _Column(head="optimal", of=lambda point: "*" if point.optimal else "")


def _removed(point: Point) -> str:
    return _WHOLE if point.spot == WHOLE else f"{point.percent:g}"


def _share(point: Point, *, axis: Axis) -> str:
    return f"{point.shares[axis]:.1%}" if axis in point.shares else ""


def figure(point: Point, merit: Merit) -> str:
    """The point's quality, as people read it."""
    value = getattr(point.fidelity, merit.value) if point.fidelity else None
    if value is None:
        return "none"
    return f"{value:.1%}" if merit in (Merit.ACCURACY, Merit.AGREEMENT) else significant(value)

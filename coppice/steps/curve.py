"""curve: the table of a sweep's points, as the status message shows it."""

from __future__ import annotations

from coppice.records.figures import significant
from coppice.records.sweep import Axis, Merit, Point
from coppice.steps.pareto import Marked

_WHOLE = "whole model"


def table(marked: Marked) -> str:
    """A line for every point: what is left of each cost, how good it is, and whether another makes it useless."""
    merit = marked.merit
    head = ("removed", *(axis.value for axis in Axis), *((merit.value, "optimal") if merit else ()))
    rows = [head, *(_row(point, merit) for point in marked.points if point.error is None)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines[1:1] = ["=" * len(lines[0])]
    failed = [f"{point.percent:g}: no model. {point.error.message}" for point in marked.points if point.error]
    return "\n".join([*lines, *failed])


def _row(point: Point, merit: Merit | None) -> tuple[str, ...]:
    removed = f"{point.percent:g}" if point.percent else _WHOLE
    costs = (f"{point.shares[axis]:.1%}" if axis in point.shares else "" for axis in Axis)
    return (removed, *costs, *(() if merit is None else (figure(point, merit), "*" if point.optimal else "")))


def figure(point: Point, merit: Merit) -> str:
    """The point's quality, as people read it."""
    value = getattr(point.fidelity, merit.value) if point.fidelity else None
    if value is None:
        return "none"
    return f"{value:.1%}" if merit in (Merit.ACCURACY, Merit.AGREEMENT) else significant(value)

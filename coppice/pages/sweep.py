"""What the page of a sweep shows: its rows, and a picture of the curve for each cost, as places in an SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from coppice.pages.view import DISTANCES
from coppice.records.figures import significant
from coppice.records.quantization import Precision
from coppice.records.quantized_words import COMPUTED_IN
from coppice.records.report import Fidelity
from coppice.records.spot import WHOLE
from coppice.records.sweep import Axis, Merit, Point, SmallFile, Sweep

#: The picture, in the units of its own coordinates: the plane of the points, and what is around it for the labels.
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 420.0, 260.0, 64.0, 16.0, 24.0, 44.0
#: What the same cut has in any precision, so that its picture is of the cuts in floats.
_OF_THE_CUT = (Axis.PARAMETERS, Axis.MACS)
#: How wide a letter is, about; a line is twice as high.
_LETTER = 6.0
#: Lines across the plane, both ways.
_LINES = 4

COSTS: Mapping[Axis, str] = {
    Axis.PARAMETERS: "parameters",
    Axis.MACS: "multiply-accumulates",
    Axis.BYTES: "bytes",
    Axis.FILE: "file",
    Axis.LATENCY: "latency",
}
_SHARES = (Merit.ACCURACY, Merit.AGREEMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One point in a picture."""

    x: float
    y: float
    name: str
    told: str
    front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line across the plane, with what it stands for."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Quality against one cost."""

    cost: str
    dots: tuple[Dot, ...]
    front: str  # the line through the points on the front, as SVG takes it
    cut: str  # and through the models before their weights were repaired
    columns: tuple[Line, ...]
    rows: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One point in the table."""

    name: str
    point: Point
    quality: str
    cut: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRow:
    """One quantized file in the table of them."""

    name: str
    file: SmallFile
    computed: str


def of_sweep(sweep: Sweep) -> dict[str, object]:
    """What the template of a sweep takes beside the sweep."""
    merit = sweep.merit
    seen = {axis for point in sweep.points for axis in point.shares}
    return {
        "costs": {axis: told for axis, told in COSTS.items() if axis in seen},
        "quantizing": any(point.spot.quantized for point in sweep.points),
        "done": _done(sweep),
        "merit": merit,
        "less": merit is not None and merit not in _SHARES,
        "distance": DISTANCES[sweep.distance] if merit is Merit.DISTANCE and sweep.distance is not None else "",
        "pictures": [] if merit is None else [found for axis in Axis if (found := _picture(sweep.points, axis, merit))],
        "small": list(_small_rows(sweep.points)),
        "rows": [_row(point, merit) for point in sweep.points],
        "size": {
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": TOP,
            "foot": HEIGHT - BOTTOM,
        },
    }


def _done(sweep: Sweep) -> str:
    """What became of the model, in the title."""
    ratios = [percent for percent in sweep.request.percents if percent]
    kinds = [precision for precision in sweep.request.precisions if precision is not Precision.FLOAT32]
    done = [f"pruned by {len(ratios)} ratio{'' if len(ratios) == 1 else 's'}"] if ratios else []
    return " and ".join([*done, *([f"quantized to {', '.join(kinds)}"] if kinds else [])])


def _row(point: Point, merit: Merit | None) -> Row:
    return Row(name=_name(point), point=point, quality=_told(point.fidelity, merit), cut=_told(point.cut, merit))


def _small_rows(points: Sequence[Point]) -> Iterator[SmallRow]:
    for point in points:
        if (small := point.quantized) is not None:
            computed = f"{COMPUTED_IN[small.arithmetic]}, by {small.runtime}"
            yield SmallRow(name=_name(point), file=small, computed=computed)


def _name(point: Point) -> str:
    if point.spot == WHOLE:
        return "as it was sent"
    removed = f"{point.percent:g} removed" if point.percent else "whole"
    return f"{removed}, {point.precision}" if point.spot.quantized else removed


def _label(point: Point) -> str:
    """Beside a dot."""
    if point.spot == WHOLE:
        return ""
    return point.spot.name if point.percent else str(point.precision)


def _told(fidelity: Fidelity | None, merit: Merit | None) -> str:
    if fidelity is None or merit is None:
        return ""
    value = _value(fidelity, merit)
    return "not numbers" if value is None else _written(value, merit)


def _written(value: float, merit: Merit) -> str:
    return f"{value:.1%}" if merit in _SHARES else significant(value)


def _value(fidelity: Fidelity, merit: Merit) -> float | None:
    found: float | None = getattr(fidelity, merit.value)
    return found


def _picture(points: Sequence[Point], axis: Axis, merit: Merit) -> Picture | None:
    """None where the cost was not measured, as latency may not be."""
    placed = [
        (point, point.shares[axis], value)
        for point in points
        if axis in point.shares
        and not (point.spot.quantized and axis in _OF_THE_CUT)
        and point.fidelity is not None
        and (value := _value(point.fidelity, merit)) is not None
    ]
    if len(placed) < 2:
        return None
    most = max(1.0, *(share for _, share, _ in placed))
    cuts = [found for point, *_ in placed if point.cut and (found := _value(point.cut, merit)) is not None]
    low, high = min(*(value for *_, value in placed), *cuts), max(*(value for *_, value in placed), *cuts)
    low, high = (0.0 if 0 < low < high / 2 else low, high if high > low else low + 1)

    def x(share: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share / most, 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)

    dots = _legible(
        Dot(
            x=x(share),
            y=y(value),
            name=_label(point),
            told=f"{_name(point)}: {share:.1%} of the {COSTS[axis]}, {merit.value} {_written(value, merit)}",
            front=axis in point.front,
        )
        for point, share, value in placed
    )
    front = _through((dot.x, dot.y) for dot in dots if dot.front)
    steps = [step / _LINES for step in range(_LINES + 1)]
    return Picture(
        cost=COSTS[axis],
        dots=dots,
        front=front,
        cut=_through(
            (x(point.shares[axis]), y(value))
            for point, value in ((point, _value(point.cut, merit)) for point in points if point.cut is not None)
            if axis in point.shares and value is not None
        ),
        columns=tuple(Line(at=x(most * step), label=f"{most * step:.0%}") for step in steps),
        rows=tuple(
            Line(at=y(value), label=_written(value, merit)) for value in (low + (high - low) * step for step in steps)
        ),
    )


def _legible(dots: Iterable[Dot]) -> tuple[Dot, ...]:
    """The dots, with a name beside each where no other name stands already; those on the front come first."""
    given = list(dots)
    named: list[Dot] = []
    for dot in sorted(given, key=lambda dot: not dot.front):
        if dot.name and not any(_collide(dot, other) for other in named):
            named.append(dot)
    return tuple(dot if dot in named else replace(dot, name="") for dot in given)


def _collide(one: Dot, other: Dot) -> bool:
    apart = (len(one.name) + len(other.name)) * _LETTER / 2
    return abs(one.x - other.x) < apart and abs(one.y - other.y) < 2 * _LETTER


def _through(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in sorted(places))

"""Marks of a curve against what one finds by going along it."""

from __future__ import annotations

import math
import random

import pytest

from coppice.records.quantization import Precision
from coppice.records.report import Fidelity
from coppice.records.sweep import Axis, Merit, Point
from coppice.steps.pareto import mark, useful


def point(percent: float, shares: dict[Axis, float], **fidelity: float | None) -> Point:
    return Point(percent=percent, shares=shares, fidelity=Fidelity(**{"distance": 0.0, **fidelity}))


@pytest.mark.parametrize("seed", range(20))
def test_a_front_of_two_figures_is_what_a_walk_from_the_cheapest_finds(seed: int) -> None:
    draw = random.Random(seed)
    points = [(float(draw.randint(0, 6)), float(draw.randint(0, 6))) for _ in range(12)]

    expected, least = set(), math.inf
    for cost, fault in sorted(points):  # of equal cost the best comes first
        if fault < least:
            expected.add((cost, fault))
            least = fault
    assert [found for found, kept in zip(points, useful(points), strict=True) if kept] == [
        found for found in points if found in expected
    ]


def test_a_point_is_optimal_if_it_wins_anything_and_on_the_front_of_what_it_wins() -> None:
    def shares(parameters: float, macs: float) -> dict[Axis, float]:
        return {Axis.PARAMETERS: parameters, Axis.MACS: macs, Axis.BYTES: parameters, Axis.LATENCY: 1.0}

    dense = point(0.0, shares(1.0, 1.0), accuracy=0.9)
    small = point(0.2, shares(0.5, 0.9), accuracy=0.8)
    quick = point(0.4, shares(0.6, 0.4), accuracy=0.8)
    useless = point(0.6, shares(0.7, 0.9), accuracy=0.7)
    failed = Point(percent=0.8)

    marked = mark([dense, small, quick, useless, failed])

    assert marked.merit is Merit.ACCURACY
    assert [found.optimal for found in marked.points] == [True, True, True, False, False]
    assert [found.front for found in marked.points] == [
        (Axis.PARAMETERS, Axis.MACS, Axis.BYTES, Axis.LATENCY),
        (Axis.PARAMETERS, Axis.BYTES),
        (Axis.MACS,),
        (),
        (),
    ]


@pytest.mark.parametrize(
    ("given", "merit"),
    [
        ([{"agreement": 1.0}, {"agreement": 0.9}], Merit.AGREEMENT),
        ([{"error": 0.1}, {"error": 0.2}], Merit.ERROR),
        ([{"distance": 0.0}, {"distance": None}], Merit.DISTANCE),  # outputs that are no numbers
    ],
)
def test_the_better_of_two_alike_is_optimal_by_whatever_the_samples_tell(
    given: list[dict[str, float | None]], merit: Merit
) -> None:
    marked = mark([point(number / 2, dict.fromkeys(Axis, 0.5), **one) for number, one in enumerate(given)])
    assert (marked.merit, [found.optimal for found in marked.points]) == (merit, [True, False])


def test_nothing_is_marked_where_nothing_was_judged() -> None:
    points = (Point(percent=0.0, shares=dict.fromkeys(Axis, 1.0)), Point(percent=0.5, shares=dict.fromkeys(Axis, 0.5)))
    assert (mark(points).points, mark(points).merit) == (points, None)


def test_points_of_one_ratio_are_marked_each_by_its_own_figures() -> None:
    def kept(precision: Precision, file: float, accuracy: float) -> Point:
        return point(0.4, {Axis.PARAMETERS: 0.6, Axis.FILE: file}, accuracy=accuracy).model_copy(
            update={"precision": precision}
        )

    dense = point(0.0, {Axis.PARAMETERS: 1.0, Axis.FILE: 1.0}, accuracy=0.9)
    floats, small = kept(Precision.FLOAT32, 0.6, 0.9), kept(Precision.INT8, 0.15, 0.88)
    worse = kept(Precision.INT4, 0.16, 0.8)
    marked = mark([dense, floats, small, worse])
    assert [found.optimal for found in marked.points] == [False, True, True, False]
    assert [Axis.FILE in found.front for found in marked.points] == [False, True, True, False]
    assert [Axis.PARAMETERS in found.front for found in marked.points] == [False, True, False, False]


def test_a_cost_that_one_point_lacks_has_its_front_without_that_point() -> None:
    dense = point(0.0, {Axis.PARAMETERS: 1.0, Axis.LATENCY: 1.0}, accuracy=0.9)
    quick = point(0.2, {Axis.PARAMETERS: 1.0, Axis.LATENCY: 0.5}, accuracy=0.9)
    packed = point(0.4, {Axis.PARAMETERS: 0.5}, accuracy=0.9)
    marked = mark([dense, quick, packed])
    assert [found.front for found in marked.points] == [(), (Axis.LATENCY,), (Axis.PARAMETERS,)]
    assert [found.optimal for found in marked.points] == [False, True, True]

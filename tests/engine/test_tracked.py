"""Tracked numbers are ints in all that they do, and their expressions say what other numbers would have given."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from coppice.tracing.equations import Equation, evaluated, solved
from coppice.tracing.expressions import Attribute, Expression, Length, Literal, combined
from coppice.tracing.places import holders, numbers, put, replaced
from coppice.tracing.tracked import Tracked, expression_of, plain


class Notes:
    """What tracked numbers have told."""

    listening = True

    def __init__(self) -> None:
        self.equals: list[tuple[Expression, Expression]] = []
        self.unequals: list[tuple[Expression, Expression]] = []
        self.scales: list[Expression] = []
        self.ordinary: list[Expression] = []

    def equal(self, left: Expression, right: Expression) -> None:
        self.equals.append((left, right))

    def unequal(self, left: Expression, right: Expression) -> None:
        self.unequals.append((left, right))

    def scale(self, expression: Expression) -> None:
        self.scales.append(expression)

    def whole(self, expression: Expression) -> None:
        self.scales.remove(expression)

    def lost(self, expression: Expression) -> None:
        self.ordinary.append(expression)


def attribute(value: int, place: int = 0, notes: Notes | None = None) -> Tracked:
    return Tracked(value, Attribute(place, value), notes or Notes())


#: What code does with sizes, of two numbers.
CODE: Mapping[str, Callable[[int, int], int]] = {
    "the width of a head": lambda c, h: c // h,
    "three of each": lambda c, h: 3 * c * h,
    "one more": lambda c, h: c + 1,
    "what is left": lambda c, h: c - c // h,
    "less than nothing": lambda c, h: -c + 2 * h,
    "quotient and rest": lambda c, h: divmod(c, h)[0] * 7 + divmod(c, h)[1],
    "a square": lambda c, h: c**2 // h,
    "a product": lambda c, h: math.prod([c, h, 2]),
    "a sum": lambda c, h: sum([c, h, c]),
    "from the other side": lambda c, h: 1000 // c + 100 % h - (50 - h),
    "half, rounded down": lambda c, h: math.floor(c / 2),
    "a share of heads, rounded": lambda c, h: round(3 * (c / h)) if c % h == 0 else 3 * c // h,
    "a ratio": lambda c, h: math.floor(c * 0.25) + math.trunc(2 * (c / 8)),
    "halves of halves": lambda c, h: math.floor(c / 2 / 3),
    "by a float": lambda c, h: math.trunc(c // 2.0),
    "shifted": lambda c, h: (c >> 1) + (h << 2),
    "minus a minus": lambda c, h: 0 - (0 - c),
    "nothing added": lambda c, h: (0 + c) * 1 - 0,
}


@pytest.mark.parametrize("name", CODE)
def test_an_expression_gives_what_the_code_would_have_given(name: str) -> None:
    code = CODE[name]
    expression = expression_of(code(attribute(24), attribute(6, place=1)))
    for c, h in [(24, 6), (12, 3), (7, 5), (100, 1)]:
        new = {0: c, 1: h}
        assert evaluated(expression, lambda leaf, new=new: new[leaf.place]) == code(c, h)  # type: ignore[misc]


def test_dividing_by_what_became_nothing_gives_none() -> None:
    assert evaluated(expression_of(24 // attribute(6)), lambda _: 0) is None


def test_a_tracked_number_does_as_ints_do() -> None:
    n = attribute(12)
    assert (f"{n} {n:>4}", repr(n), {12: "found"}[n], [0] * n, (1,) * attribute(2)) == (
        "12   12",
        "12",
        "found",
        [0] * 12,
        (1, 1),
    )
    assert (n / 5, n**-1, n**0.5, 2.5 * n, n * True, max(n, 3), json.dumps([n])) == (
        2.4, 1 / 12, math.sqrt(12), 30.0, 12, 12, "[12]",
    )  # fmt: skip
    assert (n == 12, n != 12, n < 13, n == "12", bool(n), n in (1, 12)) == (True, False, True, False, True, True)
    assert torch.equal(n * torch.ones(1), torch.tensor([12.0]))
    assert n * np.float32(2) == 24
    assert [type(other) for other in (copy.deepcopy(n), copy.copy(n), pickle.loads(pickle.dumps(n)))] == [int] * 3


def test_what_is_compared_and_what_becomes_a_fraction_is_told() -> None:
    notes = Notes()
    c, h = attribute(12, 0, notes), attribute(12, 1, notes)
    assert c == h
    assert c != 13
    assert math.sqrt(c) * h**-0.5 == pytest.approx(1)
    assert notes.equals == [(Attribute(0, 12), Attribute(1, 12))]
    assert notes.scales == [Attribute(0, 12), Attribute(1, 12)]


def test_what_is_made_whole_again_is_no_fraction_and_what_becomes_ordinary_is_told() -> None:
    notes = Notes()
    c, h = attribute(12, 0, notes), attribute(4, 1, notes)
    assert (int(c / h), int(c), c * 0.3, [type(x) for x in (int(c / 2), c / 3 + 0.5, c * 0.3 / 2.0)]) == (
        3, 12, 12 * 0.3, [int, float, float],
    )  # fmt: skip
    assert [(one.value, str(one)) for one in notes.ordinary[:2]] == [
        (3, "(attribute 0 of 12 // attribute 1 of 4)"),
        (12, "attribute 0 of 12"),
    ]
    assert Attribute(1, 4) not in notes.scales
    assert notes.scales.count(Attribute(0, 12)) == 1  # c / 3 stays a fraction
    assert plain([c / 2]) == [6.0]
    assert [type(x) for x in (plain(c / 2), copy.copy(c / 2), pickle.loads(pickle.dumps(c / 2)))] == [float] * 3


def test_numbers_are_plain_once_nobody_listens() -> None:
    notes = Notes()
    n = attribute(12, 0, notes)
    notes.listening = False
    assert type(n + 1) is int
    assert n == 12
    assert notes.equals == []


class Pair(NamedTuple):
    first: int
    second: Any


def test_containers_become_plain_in_their_own_kind() -> None:
    n = attribute(3)
    found = plain([Pair(n, (n,)), {n: [n, "a"]}, torch.Size([n])])
    assert found == [Pair(3, (3,)), {3: [3, "a"]}, torch.Size([3])]
    assert [type(found[0]), type(found[2])] == [Pair, torch.Size]
    assert {type(x) for x in (found[0].first, found[0].second[0], *found[1], found[1][3][0], found[2][0])} == {int}


EQUATIONS: Mapping[str, tuple[Expression, Expression, int]] = {
    # left, right (whose length becomes 6 of 12), and the value that makes them equal
    "alone": (Attribute(0, 12), Length(1, 12), 6),
    "three times": (combined("*", Literal(3), Attribute(0, 4)), Length(1, 12), 2),
    "divided": (combined("//", Attribute(0, 48), Literal(4)), Length(1, 12), 24),
    "divides": (combined("//", Literal(48), Attribute(0, 4)), Length(1, 12), 8),
    "a rest": (combined("-", Attribute(0, 20), Literal(8)), Length(1, 12), 14),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_an_equation_gives_the_new_value(name: str) -> None:
    left, right, value = EQUATIONS[name]
    equation = Equation(left=left, right=right, size=True, site="here")
    assert solved(equation, 0, lambda _: 6) == value


def test_an_equation_without_a_whole_number_gives_none() -> None:
    left = combined("*", Literal(5), Attribute(0, 2))
    assert solved(Equation(left=left, right=Length(1, 10), size=True, site="here"), 0, lambda _: 6) is None


class Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flag, self.name, self.width = True, "net", 8
        self.nested = [Pair(1, {"a": (2, 3)}), 4.0, None]
        self.config = SimpleNamespace(size=5, inner=SimpleNamespace(depth=6), me=None)
        self.config.me = self.config  # objects that hold themselves end
        self.tensors, self.layer = [torch.zeros(2)], nn.Linear(9, 9)


def test_the_numbers_of_modules_are_found_where_they_lie() -> None:
    found = {(one.module, one.attribute): [number for _, number in numbers(one.value)] for one in holders(Holds())}
    assert found == {
        ("", "width"): [8],
        ("", "nested"): [1, 2, 3],
        ("", "config.size"): [5],
        ("", "config.inner.depth"): [6],
        ("layer", "in_features"): [9],
        ("layer", "out_features"): [9],
    }


def test_values_that_were_json_are_put_back_in_their_containers() -> None:
    model = Holds()
    new = {one.attribute: replaced(one.value, lambda _, n: n + 10) for one in holders(model) if not one.module}
    put(model, {"": json.loads(json.dumps(new))})
    assert (model.width, model.nested, model.config.size, model.config.inner.depth) == (
        18, [Pair(11, {"a": (12, 13)}), 4.0, None], 15, 16,
    )  # fmt: skip
    assert type(model.nested[0]) is Pair

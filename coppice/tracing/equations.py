"""Equations between numbers in the code and lengths of axes: what they ask of the channels, and what they give.

Before the plan, an equation couples: where `C // self.num_heads` is the width of a head, C and that width lose the same
share. An attribute takes the share of the axes that it counts. After the plan, every attribute is computed from the
axes that are left, and every equation is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from coppice.channels import FIXED, Labels
from coppice.tracing.expressions import OPERATORS, Attribute, Expression, Length, Literal, Operation, leaves

#: The vector of every axis of which nothing may be removed.
NONE = 0
#: The labels of what a number counts that stays as it is.
STAYING: Labels = np.array([FIXED])
#: Larger numbers count no positions of an axis: seeds, limits, indices that mean "to the end".
MOST_POSITIONS = 1 << 22


Value = Callable[[Attribute | Length], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """Two numbers that are equal and must be so after the cut."""

    left: Expression
    right: Expression
    size: bool  # whether the left one was given as the size of an axis; else the code has compared the two
    site: str  # the operator, the module and the line
    spelled: str = ""  # how the code comes by the number, where one side is nothing else

    @property
    def hard_coded(self) -> int | None:
        """The number, where one side is nothing but a number."""
        sides = (self.left, self.right)
        return next((side.value for side in sides if not any(True for _ in leaves(side))), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The equation from which an attribute's new value follows, all others in it being known."""

    place: int
    equation: Equation


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """An attribute that the code has found different from another number, and must find so after the cut."""

    attribute: Attribute
    other: Expression

    def moved(self, value: Value) -> int | None:
        """The attribute in its old proportion to the other, where the two would be equal; None where they aren't."""
        other = evaluated(self.other, value)
        if other is None or other != value(self.attribute):
            return None
        share = Fraction(other * self.attribute.value, self.other.value or 1)
        return int(share) if share.denominator == 1 and share != other else None


def factors(expression: Expression) -> Counter[Expression]:
    """What an expression multiplies and divides: numbers aside, every factor with its power."""
    found: Counter[Expression] = Counter()
    if isinstance(expression, Operation) and expression.operator in ("*", "//"):
        found.update(factors(expression.left))
        (found.update if expression.operator == "*" else found.subtract)(factors(expression.right))
    elif not isinstance(expression, Literal):
        found[expression] += 1
    return found


class Shares:
    """Finds which attribute counts which axis, what must lose the same share, and what can't lose any.

    `held[unit]` says which units stay anyway: axes of which nothing goes ask nothing.
    """

    def __init__(
        self, units: Labels, held: NDArray[np.bool_], vectors: Sequence[Labels], equations: Iterable[Equation]
    ) -> None:
        self._vectors, self._units, self._held = vectors, units, held
        self._counts: dict[int, list[tuple[Labels, str]]] = {}  # place -> the label vectors that it counts
        self.bindings: list[Binding] = []
        self.couples: list[tuple[Labels, Labels, str]] = []
        self.stays: list[tuple[Labels, str]] = []
        self._written = [one for one in equations if one.hard_coded is None]
        self._bind_all()
        for equation in self._written:
            self._couple(equation)
        for counted in self._counts.values():
            for labels, reason in counted[1:]:
                self._same(counted[0][0], labels, reason)

    def counted(self, expression: Expression) -> Iterator[Labels]:
        """The label vectors of which a number is made."""
        for leaf in dict.fromkeys(leaves(expression)):
            if (labels := self._varying(leaf)) is not None:
                yield labels

    def _bind_all(self) -> None:
        """Attributes that stand alone first, those in products then, as soon as all others there are known."""
        waiting = sorted(self._written, key=lambda one: (not one.size, sum(1 for _ in leaves(one.left))))
        for one in waiting:
            if one.size and isinstance(one.left, Attribute):
                self._bind(one.left, one)
        while True:
            unknown = [(one, names) for one in waiting if (names := self._unknown(one))]
            alone = [(one, names[0]) for one, names in unknown if len(names) == 1]
            if alone:
                for one, attribute in alone:
                    if attribute.place not in self._counts:
                        self._bind(attribute, one)
            elif unknown:
                # Nothing says which of them follows: the last one, as in heads * width, or what is divided by others.
                one, names = unknown[0]
                powers = factors(one.left) + factors(one.right)
                for attribute in sorted(names, key=lambda name: powers[name] > 0)[:-1]:
                    self._count(attribute, STAYING, "")
            else:
                return

    def _unknown(self, equation: Equation) -> list[Attribute]:
        found = [*leaves(equation.left), *leaves(equation.right)]
        return [leaf for leaf in dict.fromkeys(found) if isinstance(leaf, Attribute) and leaf.place not in self._counts]

    def _bind(self, attribute: Attribute, equation: Equation) -> None:
        """The attribute takes the share of what varies on the other side of the equation; if nothing does, it stays."""
        if (summed := self._remainder(attribute, equation)) is not None:
            self._count(attribute, summed, equation.site)
            self.bindings.append(Binding(place=attribute.place, equation=equation))
            return
        powers = _sides(equation)
        against: list[Labels] = []
        along: list[Labels] = []
        for factor, power in powers.items():
            if factor != attribute and (labels := self._varying(factor)) is not None:
                (against if power * powers[attribute] < 0 else along).append(labels)
        follows = len(against) - len(along) == 1
        self._count(attribute, against[0] if follows and powers[attribute] else STAYING, equation.site)
        if follows:
            self.bindings.append(Binding(place=attribute.place, equation=equation))

    def _remainder(self, attribute: Attribute, equation: Equation) -> Labels | None:
        """The positions that an attribute counts where a rest is taken of it, as in `self.dim - self.part`."""
        terms = [*_terms(equation.left, 1), *_terms(equation.right, -1)]
        own = [sign for sign, term in terms if term == attribute]
        others = [self._positions(term) for sign, term in terms if term != attribute and sign not in own]
        if len(own) != 1 or len(others) != len(terms) - 1 or len(others) < 2:
            return None
        counted = [labels for labels in others if labels is not None]
        return np.concatenate(counted) if len(counted) == len(others) else None

    def _count(self, attribute: Attribute, labels: Labels, site: str) -> None:
        self._counts.setdefault(attribute.place, []).append((labels, site))

    def _varying(self, factor: Expression) -> Labels | None:
        """A label vector that has the factor's share, or None when the factor stays as it is."""
        for leaf in leaves(factor):
            if isinstance(leaf, Length):
                if self._moves(self._vectors[leaf.vector]):
                    return self._vectors[leaf.vector]
            else:
                for labels, _ in self._counts.get(leaf.place, ()):
                    if self._moves(labels):
                        return labels
        return None

    def _moves(self, labels: Labels) -> bool:
        return not self._held[self._units[labels]].all()

    def _couple(self, equation: Equation) -> None:
        """Note what keeps the equation true."""
        if self._adds_up(equation):
            return
        above: list[Labels] = []
        below: list[Labels] = []
        for factor, power in _sides(equation).items():
            labels = self._varying(factor)
            if labels is None:
                continue
            if isinstance(factor, Operation):
                if not equation.size and factor.operator == "%":
                    return  # that a width is divisible, is not a matter of shares
                if not self._moves_as_one(factor, equation.site):
                    self._stay([*above, *below, labels], equation)
                    return
            for _ in range(abs(power)):
                (above if power > 0 else below).append(labels)
        for labels in list(above):
            match = next((other for other in below if self._equal_share(labels, other)), None)
            if match is not None:
                above = [one for one in above if one is not labels]
                below = [one for one in below if one is not match]
        if len(above) == len(below):
            for a, b in zip(above, below, strict=True):
                self._same(a, b, equation.site)
        elif equation.size or len(above) + len(below) == 1:
            self._stay([*above, *below], equation)

    def _adds_up(self, equation: Equation) -> bool:
        """Whether both sides count the same units, whatever goes: the lengths of concatenated parts, say."""
        plus: list[Labels] = []
        minus: list[Labels] = []
        for sign, term in (*_terms(equation.left, 1), *_terms(equation.right, -1)):
            if (labels := self._positions(term)) is None:
                return False
            (plus if sign > 0 else minus).append(labels)
        return np.array_equal(self._sorted(plus), self._sorted(minus))

    def _moves_as_one(self, total: Operation, site: str) -> bool:
        """Whether all parts of a sum can lose the same share; if so, they do."""
        parts = [self._varying(term) for _, term in _terms(total, 1)]
        moving = [labels for labels in parts if labels is not None]
        if total.operator == "%" or len(moving) < len(parts):
            return False
        for labels in moving[1:]:
            self._same(moving[0], labels, site)
        return True

    def _positions(self, term: Expression) -> Labels | None:
        """The positions that a term counts, one by one; None when it doesn't count positions."""
        if isinstance(term, Operation) or not 0 <= term.value <= MOST_POSITIONS:
            return None
        labels = self._varying(term)
        if labels is None and isinstance(term, Length) and term.vector != NONE:
            labels = self._vectors[term.vector]
        if labels is None:
            return np.zeros(term.value, np.int64)
        return labels if labels.size == term.value else None

    def _sorted(self, vectors: Sequence[Labels]) -> Labels:
        found: Labels = np.sort(self._units[np.concatenate([np.zeros(0, np.int64), *vectors])])
        return found

    def _equal_share(self, a: Labels, b: Labels) -> bool:
        """Whether the same units lie in both, in the same proportions."""
        units_a, times_a = np.unique(self._units[a], return_counts=True)
        units_b, times_b = np.unique(self._units[b], return_counts=True)
        return np.array_equal(units_a, units_b) and np.array_equal(times_a * b.size, times_b * a.size)

    def _same(self, a: Labels, b: Labels, site: str) -> None:
        if not self._equal_share(a, b):
            self.couples.append((a, b, f"the code takes one width for another: {site}"))

    def _stay(self, vectors: Sequence[Labels], equation: Equation) -> None:
        others = [labels for leaf in leaves(equation.right) if (labels := self._varying(leaf)) is not None]
        self.stays += [(one, f"a size in the code can't follow: {equation.site}") for one in (*vectors, *others)]


def _sides(equation: Equation) -> Counter[Expression]:
    """The factors of left / right, with their powers."""
    powers = factors(equation.left)
    powers.subtract(factors(equation.right))
    return Counter({factor: power for factor, power in powers.items() if power})


def _terms(expression: Expression, sign: int) -> Iterator[tuple[int, Expression]]:
    """What an expression adds and subtracts."""
    if isinstance(expression, Operation) and expression.operator in ("+", "-"):
        yield from _terms(expression.left, sign)
        yield from _terms(expression.right, sign if expression.operator == "+" else -sign)
    elif not (isinstance(expression, Literal) and expression.value == 0):
        yield sign, expression


def evaluated(expression: Expression, value: Value) -> int | None:
    """The number that an expression gives with new leaves; None when it divides by zero."""
    if isinstance(expression, Literal):
        return expression.value
    if isinstance(expression, Operation):
        left, right = evaluated(expression.left, value), evaluated(expression.right, value)
        if left is None or right is None or (right == 0 and expression.operator in ("//", "%")):
            return None
        return OPERATORS[expression.operator](left, right)
    return value(expression)


def solved(equation: Equation, place: int, value: Value) -> int | None:
    """The value of one attribute that makes the equation true, the other leaves being known; None when there is none.

    The attribute is a factor of one side or the other, so that its share follows from theirs.
    """

    def holds(number: int) -> bool:
        def with_it(leaf: Attribute | Length) -> int:
            return number if isinstance(leaf, Attribute) and leaf.place == place else value(leaf)

        left, right = evaluated(equation.left, with_it), evaluated(equation.right, with_it)
        return left is not None and left == right

    old = next(
        leaf.value
        for leaf in (*leaves(equation.left), *leaves(equation.right))
        if isinstance(leaf, Attribute) and leaf.place == place
    )
    for guess in _guesses(equation, old, place, value):
        if guess.denominator == 1 and guess > 0 and holds(int(guess)):
            return int(guess)
    return next((number for number in range(1, old) if holds(number)), None)


def _guesses(equation: Equation, old: int, place: int, value: Value) -> Iterator[Fraction]:
    """The old value, and the old value times the share by which everything else in the equation has changed."""
    yield Fraction(old)
    powers = _sides(equation)
    change, own = Fraction(1), 0
    for factor, power in powers.items():
        if any(isinstance(leaf, Attribute) and leaf.place == place for leaf in leaves(factor)):
            own += power
            continue
        after = evaluated(factor, value)
        if not after or not factor.value:
            return
        change *= Fraction(after, factor.value) ** power
    if own in (1, -1):
        yield old * change ** (-own)


def kept_sizes(vectors: Sequence[Labels], units: Labels, removed: Labels) -> list[int]:
    """How many positions of each label vector stay when the units `removed` go."""
    gone = np.zeros(units.max(initial=0) + 1, dtype=bool)
    gone[removed] = True
    gone[units[FIXED]] = False
    return [int(np.count_nonzero(~gone[units[labels]])) for labels in vectors]


def violated(equations: Iterable[Equation], value: Value) -> Iterator[tuple[Equation, Mapping[str, int | None]]]:
    """The equations on sizes that don't hold, and what their sides have become."""
    for equation in equations:
        left, right = evaluated(equation.left, value), evaluated(equation.right, value)
        if equation.size and left != right:
            yield equation, {"left": left, "right": right}

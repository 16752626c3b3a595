"""Tracked integers: ints that remember which attribute or axis they came from, through arithmetic.

>>> from coppice.tracing.expressions import Length
>>> width = Tracked(12, Length(3, 12), _Nothing())
>>> half = width // 2 + 1
>>> half, half.expression
(7, ((length 3 of 12 // 2) + 1))
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any, Protocol, Self

from coppice.tracing.expressions import OPERATORS, Expression, Literal, combined


def expression_of(number: int) -> Expression:
    """The expression of a tracked number, or a literal."""
    return number.expression if isinstance(number, Tracked) else Literal(int(number))  # of a bool or a numpy number


def plain(value: Any) -> Any:
    """The value with every tracked number in it, in lists, tuples and dictionaries too, an ordinary one."""
    if isinstance(value, Tracked):
        return value.plain
    if isinstance(value, Quotient):
        return float.__float__(value)
    if type(value) is list and any(_holds(entry) for entry in value):
        return [plain(entry) for entry in value]
    if isinstance(value, tuple) and any(_holds(entry) for entry in value):
        entries = [plain(entry) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    if type(value) is dict and any(_holds(entry) for pair in value.items() for entry in pair):
        return {plain(key): plain(entry) for key, entry in value.items()}
    return value


def _holds(value: Any) -> bool:
    """Whether a tracked number is in it: what holds none stays the very object, which others may share."""
    if isinstance(value, (list, tuple)):
        return any(_holds(entry) for entry in value)
    if type(value) is dict:
        return any(_holds(entry) for pair in value.items() for entry in pair)
    return isinstance(value, (Tracked, Quotient))


class Listener(Protocol):
    """What is told of things that happen to tracked numbers."""

    @property
    def listening(self) -> bool:
        """Whether the numbers are still being followed; later they are as plain as any."""

    def equal(self, left: Expression, right: Expression) -> None:
        """The code has compared two numbers and found them equal."""

    def unequal(self, left: Expression, right: Expression) -> None:
        """The code has compared two numbers and found them different."""

    def scale(self, expression: Expression) -> None:
        """The code has made a number with a fraction of one, which it may multiply values with."""

    def whole(self, expression: Expression) -> None:
        """It has not: the fraction was made whole again."""

    def lost(self, expression: Expression) -> None:
        """Python makes an ordinary number of this one; it may come back as a size."""


class _Nothing:
    """A listener that does nothing."""

    listening = True

    def equal(self, left: Expression, right: Expression) -> None:
        """Ignore it."""

    def unequal(self, left: Expression, right: Expression) -> None:
        """Ignore it."""

    def scale(self, expression: Expression) -> None:
        """Ignore it."""

    def whole(self, expression: Expression) -> None:
        """Ignore it."""

    def lost(self, expression: Expression) -> None:
        """Ignore it."""


class Tracked(int):
    """An int in all that it does; what is computed from it in whole numbers is tracked too."""

    expression: Expression
    _listener: Listener

    def __new__(cls, value: int, expression: Expression, listener: Listener) -> Self:
        """An int of this value that was computed so."""
        self = super().__new__(cls, value)
        self.expression = expression
        self._listener = listener
        return self

    @property
    def plain(self) -> int:
        """The ordinary number, without a word to anybody."""
        return int.__int__(self)

    def _with(self, operator: str, other: Any, *, reflected: bool = False) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        left, right = (expression_of(other), self.expression) if reflected else (self.expression, expression_of(other))
        value = OPERATORS[operator](left.value, right.value)
        if not self._listener.listening:
            return value
        expression = combined(operator, left, right)
        return value if isinstance(expression, Literal) else Tracked(value, expression, self._listener)

    def _over(self, other: Any) -> Any:
        """This number as a fraction, `other` below: how floats come about that are whole numbers again later."""
        if isinstance(other, int) and not isinstance(other, bool):
            below, other = expression_of(other), int.__int__(other)
        elif isinstance(other, float) and other.is_integer() and abs(other) <= LARGEST_RATIO:
            below = Literal(round(other))
        else:
            return None
        return Quotient(self.plain / other, self.expression, below, self._listener)

    def __add__(self, other: Any) -> Any:
        return self._with("+", other)

    def __radd__(self, other: Any) -> Any:
        return self._with("+", other, reflected=True)

    def __sub__(self, other: Any) -> Any:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> Any:
        return self._with("-", other, reflected=True)

    def __mul__(self, other: Any) -> Any:
        if type(other) is float and self._listener.listening and (ratio := _ratio(other)) is not None:
            above = combined("*", self.expression, Literal(ratio.numerator))
            return Quotient(self.plain * other, above, Literal(ratio.denominator), self._listener)
        return self._with("*", other)

    def __rmul__(self, other: Any) -> Any:
        return self._with("*", other, reflected=True)

    def __floordiv__(self, other: Any) -> Any:
        if type(other) is float and self._listener.listening and other and other.is_integer():
            above = combined("//", self.expression, Literal(round(other)))
            return Quotient(self.plain // other, above, Literal(1), self._listener)
        return self._with("//", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with("//", other, reflected=True)

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other) if type(other) is int and other >= 0 else self.plain >> other

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << other) if type(other) is int and other >= 0 else self.plain << other

    def __mod__(self, other: Any) -> Any:
        return self._with("%", other)

    def __rmod__(self, other: Any) -> Any:
        return self._with("%", other, reflected=True)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __neg__(self) -> Any:
        return self._with("-", 0, reflected=True)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is None and isinstance(other, int) and 0 < other <= 4:
            power: Any = self
            for _ in range(other - 1):
                power = power * self
            return power
        self._scales()
        return self.plain**other if modulo is None else pow(self.plain, other, modulo)

    def __truediv__(self, other: Any) -> Any:
        if self._listener.listening and other and (quotient := self._over(other)) is not None:
            return quotient
        self._scales()
        return self.plain / other

    def __rtruediv__(self, other: Any) -> Any:
        if self._listener.listening and self.plain and isinstance(other, int) and not isinstance(other, bool):
            return Quotient(other / self.plain, expression_of(other), self.expression, self._listener)
        self._scales()
        return other / self.plain

    def __int__(self) -> int:
        if self._listener.listening:
            self._listener.lost(self.expression)
        return self.plain

    __trunc__ = __int__

    def __float__(self) -> float:
        self._scales()
        return float(self.plain)

    def _scales(self) -> None:
        if self._listener.listening:
            self._listener.scale(self.expression)

    def __eq__(self, other: object) -> bool:
        same = int.__eq__(self, other)
        if isinstance(other, int) and self._listener.listening:
            if same is True:
                self._listener.equal(self.expression, expression_of(other))
            elif isinstance(other, Tracked):
                self._listener.unequal(self.expression, other.expression)
        return same

    def __ne__(self, other: object) -> bool:
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    __hash__ = int.__hash__

    def __deepcopy__(self, _: Any) -> int:
        return self.plain

    def __copy__(self) -> int:
        return self.plain

    def __reduce__(self) -> Any:
        return int, (self.plain,)


#: Ratios that people write: 0.25, 2 / 3. Of others, no whole number can be told.
LARGEST_RATIO = 1024


def _ratio(number: float) -> Fraction | None:
    if not 0 < number <= LARGEST_RATIO:
        return None
    found = Fraction(number).limit_denominator(LARGEST_RATIO)
    return found if found and abs(float(found) - number) <= 4 * sys.float_info.epsilon * number else None


class Quotient(float):
    """A float that two tracked numbers, or one and another, gave; made whole again, it is tracked again.

    As long as it is a fraction it counts as one that values may be multiplied with.
    """

    _above: Expression
    _below: Expression
    _listener: Listener
    _told: bool

    def __new__(cls, value: float, above: Expression, below: Expression, listener: Listener) -> Self:
        """A float of this value, which is one expression divided by another."""
        self = super().__new__(cls, value)
        self._above, self._below, self._listener, self._told = above, below, listener, False
        for one in (above, below):
            if not isinstance(one, Literal):
                listener.scale(one)
        return self

    def _whole(self, value: int, expression: Expression) -> Any:
        if not self._listener.listening or expression.value != value or isinstance(expression, Literal):
            return value
        if not self._told:
            self._told = True
            for one in (self._above, self._below):
                if not isinstance(one, Literal):
                    self._listener.whole(one)
        return Tracked(value, expression, self._listener)

    def __floor__(self) -> Any:
        return self._whole(math.floor(float.__float__(self)), combined("//", self._above, self._below))

    def __trunc__(self) -> Any:
        return self._whole(math.trunc(float.__float__(self)), combined("//", self._above, self._below))

    def __ceil__(self) -> Any:
        more = combined("+", self._above, combined("-", self._below, Literal(1)))
        return self._rounded(math.ceil(float.__float__(self)), combined("//", more, self._below))

    def __round__(self, digits: Any = None) -> Any:
        if digits is not None:
            return round(float.__float__(self), digits)
        twice = combined("+", combined("*", self._above, Literal(2)), self._below)
        halves = combined("//", twice, combined("*", self._below, Literal(2)))
        return self._rounded(round(float.__float__(self)), halves)

    def _rounded(self, value: int, otherwise: Expression) -> Any:
        exact = self._above.value % self._below.value == 0  # as numbers of channels mostly are, after the cut too
        return self._whole(value, combined("//", self._above, self._below) if exact else otherwise)

    def __int__(self) -> int:
        found = self.__trunc__()  # what `int` gives is an ordinary number, whatever comes from here
        return int(found)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool) or not self._listener.listening:
            return float.__mul__(self, other)
        above = combined("*", self._above, expression_of(other))
        return self._again(float.__mul__(self, int.__int__(other)), above, self._below)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool) or not other or not self._listener.listening:
            return float.__truediv__(self, other)
        below = combined("*", self._below, expression_of(other))
        return self._again(float.__truediv__(self, int.__int__(other)), self._above, below)

    def _again(self, value: float, above: Expression, below: Expression) -> Quotient:
        return Quotient(value, above, below, self._listener)

    def __floordiv__(self, other: Any) -> Any:
        return float.__float__(self) // other

    def __deepcopy__(self, _: Any) -> float:
        return float.__float__(self)

    def __copy__(self) -> float:
        return float.__float__(self)

    def __reduce__(self) -> Any:
        return float, (float.__float__(self),)

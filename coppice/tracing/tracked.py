"""Tracked integers: ints that remember which attribute or axis they came from, through arithmetic.

>>> width = Tracked(12, Length(3, 12), _Nothing())
>>> half = width // 2 + 1
>>> half, half.expression
(7, ((length 3 of 12 // 2) + 1))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

OPERATORS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that the code writes out, or whose origin was lost."""

    value: int

    def __repr__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A number that a module holds, or an object that a module holds; `place` counts them."""

    place: int
    value: int

    def __repr__(self) -> str:
        return f"attribute {self.place} of {self.value}"


@dataclass(frozen=True, slots=True)
class Length:
    """The length of an axis; `vector` is the number of its label vector."""

    vector: int
    value: int

    def __repr__(self) -> str:
        return f"length {self.vector} of {self.value}"


@dataclass(frozen=True, slots=True)
class Operation:
    """Two numbers combined."""

    operator: str
    left: Expression
    right: Expression
    value: int

    def __repr__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


Expression = Literal | Attribute | Length | Operation
Leaf = Attribute | Length


def combined(operator: str, left: Expression, right: Expression) -> Expression:
    """`left operator right`, without the operations that change nothing."""
    if isinstance(left, Literal) and isinstance(right, Literal):
        return Literal(OPERATORS[operator](left.value, right.value))
    neutral = {"+": 0, "-": 0, "*": 1, "//": 1}.get(operator)
    if isinstance(right, Literal) and right.value == neutral:
        return left
    if isinstance(left, Literal) and left.value == neutral and operator in "+*":
        return right
    return Operation(operator, left, right, OPERATORS[operator](left.value, right.value))


def leaves(expression: Expression) -> Iterator[Leaf]:
    """The attributes and lengths in an expression, each as often as it stands there."""
    if isinstance(expression, Operation):
        yield from leaves(expression.left)
        yield from leaves(expression.right)
    elif not isinstance(expression, Literal):
        yield expression


def expression_of(number: int) -> Expression:
    """The expression of a tracked number, or a literal."""
    return number.expression if isinstance(number, Tracked) else Literal(int(number))


def plain(value: Any) -> Any:
    """The value with every tracked number in it, in lists, tuples and dictionaries too, an ordinary one."""
    if isinstance(value, Tracked):
        return int(value)
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
    return isinstance(value, Tracked)


class Listener(Protocol):
    """What is told of things that happen to tracked numbers."""

    @property
    def listening(self) -> bool:
        """Whether the numbers are still being followed; later they are as plain as any."""

    def equal(self, left: Expression, right: Expression) -> None:
        """The code has compared two numbers and found them equal."""

    def scale(self, expression: Expression) -> None:
        """The code has made a number with a fraction of one, which it may multiply values with."""


class _Nothing:
    """A listener that does nothing."""

    listening = True

    def equal(self, left: Expression, right: Expression) -> None:
        """Ignore it."""

    def scale(self, expression: Expression) -> None:
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

    def _with(self, operator: str, other: Any, *, reflected: bool = False) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        left, right = (expression_of(other), self.expression) if reflected else (self.expression, expression_of(other))
        value = OPERATORS[operator](left.value, right.value)
        if not self._listener.listening:
            return value
        expression = combined(operator, left, right)
        return value if isinstance(expression, Literal) else Tracked(value, expression, self._listener)

    def __add__(self, other: Any) -> Any:
        return self._with("+", other)

    def __radd__(self, other: Any) -> Any:
        return self._with("+", other, reflected=True)

    def __sub__(self, other: Any) -> Any:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> Any:
        return self._with("-", other, reflected=True)

    def __mul__(self, other: Any) -> Any:
        return self._with("*", other)

    def __rmul__(self, other: Any) -> Any:
        return self._with("*", other, reflected=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._with("//", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with("//", other, reflected=True)

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
        return int(self) ** other if modulo is None else pow(int(self), other, modulo)

    def __truediv__(self, other: Any) -> Any:
        self._scales()
        return int(self) / other

    def __rtruediv__(self, other: Any) -> Any:
        self._scales()
        return other / int(self)

    def __float__(self) -> float:
        self._scales()
        return float(int(self))

    def _scales(self) -> None:
        if self._listener.listening:
            self._listener.scale(self.expression)

    def __eq__(self, other: object) -> bool:
        same = int.__eq__(self, other)
        if same is True and isinstance(other, int) and self._listener.listening:
            self._listener.equal(self.expression, expression_of(other))
        return same

    def __ne__(self, other: object) -> bool:
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    __hash__ = int.__hash__

    def __deepcopy__(self, _: Any) -> int:
        return int(self)

    def __copy__(self) -> int:
        return int(self)

    def __reduce__(self) -> Any:
        return int, (int(self),)

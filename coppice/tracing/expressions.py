"""Expressions: how a number came of attributes of modules and of lengths of axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

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
    if operator == "-" and isinstance(left, Literal) and left.value == 0 and (negated := _negated(right)) is not None:
        return negated
    neutral = {"+": 0, "-": 0, "*": 1, "//": 1}.get(operator)
    if isinstance(right, Literal) and right.value == neutral:
        return left
    if isinstance(left, Literal) and left.value == neutral and operator in "+*":
        return right
    return Operation(operator, left, right, OPERATORS[operator](left.value, right.value))


def _negated(expression: Expression) -> Expression | None:
    """What an expression of the form `0 - x` takes away."""
    if isinstance(expression, Operation) and expression.operator == "-" and expression.left == Literal(0):
        return expression.right
    return None


def leaves(expression: Expression) -> Iterator[Leaf]:
    """The attributes and lengths in an expression, each as often as it stands there."""
    if isinstance(expression, Operation):
        yield from leaves(expression.left)
        yield from leaves(expression.right)
    elif not isinstance(expression, Literal):
        yield expression

"""The table of ONNX operators: name -> how it computes in torch, and on plain numbers.

Filled by the decorator `operator` in the operator files, which `__init__` imports explicitly. One row serves every
version of an operator: what was an attribute once and an input later is read by `OnnxNode.option`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: `call(node, *inputs)`: tensors, `None` for an input that is left out, numbers where the row says so.
Call = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operator; `numbers` are the inputs that state sizes, and so come as plain numbers or lists of them."""

    call: Call
    numbers: frozenset[int] = frozenset()
    #: A one-element constant of such an operator is a number of the formula, no weight: noise must not reach it.
    scalars: bool = False
    #: Whole numbers that such an operator is given are values, no sizes.
    whole_values: bool = False
    #: Makes floating-point values of its own, in the type in which the network computes at the moment.
    makes_floats: bool = False


@dataclass(frozen=True, slots=True)
class _Table:
    rows: dict[str, Row] = field(default_factory=dict)

    def enter(self, name: str, row: Row) -> None:
        if name in self.rows:
            raise RuntimeError(f"two rows for the ONNX operator {name}")
        self.rows[name] = row


_TABLE, _NUMBERS = _Table(), _Table()

OPERATORS = _TABLE.rows
#: What operators do to plain numbers: sizes on their way from a Shape to a Reshape. Same names, same decorator.
ON_NUMBERS = _NUMBERS.rows


def operator(
    *names: str,
    numbers: tuple[int, ...] = (),
    scalars: bool = False,
    whole_values: bool = False,
    makes_floats: bool = False,
) -> Callable[[Call], Call]:
    """Enter the decorated function under the operator names; a name that is taken raises."""

    def enter(call: Call) -> Call:
        row = Row(
            call=call,
            numbers=frozenset(numbers),
            scalars=scalars,
            whole_values=whole_values,
            makes_floats=makes_floats,
        )
        for name in names:
            _TABLE.enter(name, row)
        return call

    return enter


def on_numbers(*names: str) -> Callable[[Call], Call]:
    """Enter the decorated function for inputs that are all plain numbers."""

    def enter(call: Call) -> Call:
        for name in names:
            _NUMBERS.enter(name, Row(call=call))
        return call

    return enter

"""What is kept of every tensor: plain data, made without touching a weight, the same for every framework."""

from __future__ import annotations

from pydantic import Field

from coppice.records.request import Record


class Plan(Record):
    """The cut. Tensors and axes that are not named stay whole.

    `kept["conv1.weight"][0] == (0, 2, 5)` says that of axis 0 of `conv1.weight` the positions 0, 2 and 5 stay, in
    that order.
    """

    kept: dict[str, dict[int, tuple[int, ...]]] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

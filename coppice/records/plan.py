"""What is kept of every tensor: plain data, made without touching a weight, the same for every framework."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from coppice.records.request import Record


class Plan(Record):
    """The cut. Tensors and axes that are not named stay whole.

    `kept["conv1.weight"][0] == (0, 2, 5)` says that of axis 0 of `conv1.weight` the positions 0, 2 and 5 stay, in
    that order. `attributes["encoder.layers.0"]["head_dim"] == 32` says that the code's own number becomes 32, so that
    it still counts what it counted; a dotted attribute (`config.hidden_size`) is one of an object in the module.
    """

    kept: dict[str, dict[int, tuple[int, ...]]] = Field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

"""What is kept of every tensor: plain data, made without touching a weight, the same for every framework.

A plan can be saved, edited, loaded, and replayed on other weights of the same architecture by `coppice.apply`:

>>> plan = Plan(kept={"conv1.weight": {0: (0, 2)}, "conv1.bias": {0: (0, 2)}})
>>> plan.keeping("conv1", [1, 2]).edits
{'conv1': (1, 2)}
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError

from coppice.errors import ParameterInvalid
from coppice.records.request import Heads, Part, Record

#: Several times the plan of the widest model of which every tensor is cut.
MAX_BYTES = 64 * 1024 * 1024
#: Rows that a notebook shows: more is a file to open.
_SHOWN = 100
Position = Annotated[int, Field(ge=0)]


class Plan(Record):
    """The cut. Tensors and axes that are not named stay whole.

    `kept["conv1.weight"][0] == (0, 2, 5)` says that of axis 0 of `conv1.weight` the positions 0, 2 and 5 stay, in
    that order. `attributes["encoder.layers.0"]["head_dim"] == 32` says that the code's own number becomes 32, so that
    it still counts what it counted; a dotted attribute (`config.hidden_size`) is one of an object in the module.
    `heads` is what attention was asked to lose, which decides what belongs together.
    `shapes` are those of all stored tensors of the model that it was made for, before the cut: its architecture.
    `edits` are wishes that came later, by layer: what is kept of its output channels, or None for all of them. Who
    applies the plan settles them, with all that depends on these channels.
    """

    schema_version: Literal[1] = 1
    kept: dict[str, dict[Position, tuple[Position, ...]]] = Field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    heads: Heads = Heads.WIDTH
    shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    edits: dict[str, tuple[Position, ...] | None] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def _repr_html_(self) -> str:
        """What a notebook shows: how much of which axis of which tensor stays, and what was edited since."""
        axes = [(tensor, axis, kept) for tensor, found in self.kept.items() for axis, kept in found.items()]
        rows = "".join(
            f"<tr><td>{escape(tensor)}</td><td>{axis}</td><td>{len(kept)}{self._of(tensor, axis)}</td></tr>"
            for tensor, axis, kept in axes[:_SHOWN]
        )
        more = f"<p>and {len(axes) - _SHOWN} more</p>" if len(axes) > _SHOWN else ""
        edits = "".join(
            f"<li>{escape(layer)}: {'whole' if kept is None else f'{len(kept)} channels'}</li>"
            for layer, kept in self.edits.items()
        )
        head = "<thead><tr><th>tensor</th><th>axis</th><th>kept</th></tr></thead>"
        edited = f"<p>Edited since, settled when it is applied:</p><ul>{edits}</ul>" if edits else ""
        return f"<table>{head}<tbody>{rows}</tbody></table>{more}{edited}"

    def _of(self, tensor: str, axis: int) -> str:
        shape = self.shapes.get(tensor, ())
        return f" of {shape[axis]}" if axis < len(shape) else ""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan to a JSON file, which `Plan.load` reads; raises OSError."""
        Path(path).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a plan that `save` wrote, or `plan.json` of a job; raises ParameterInvalid, OSError."""
        return cls.read(path, str(path))

    @classmethod
    def read(cls, path: str | PathLike[str], shown: str) -> Self:
        """As `load`, of a file that is called `shown` in what is said of it."""
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ParameterInvalid(f"{shown} is larger than {MAX_BYTES:,} bytes, which no plan is.", field=Part.PLAN)
        try:
            return cls.model_validate_json(raw)
        except ValidationError as e:
            first = e.errors()[0]
            where = ".".join(str(part) for part in first["loc"])[:200] or "the file"
            raise ParameterInvalid(
                f"{shown} is not a plan of schema version 1: {where}: {first['msg']}. Give a file that plan.save "
                "wrote, or the plan.json of a job.",
                field=Part.PLAN,
            ) from e

    def without(self, layer: str) -> Self:
        """The plan with which this layer (name, prefix or glob) keeps all its output channels, and what hangs on them.

        Nothing is checked here: `coppice.apply` does, which knows the model.
        """
        return self._edited(layer, None)

    def keeping(self, layer: str, channels: Iterable[int]) -> Self:
        """The plan with which this layer keeps the output channels of these numbers (from 0) and no others.

        What reads, scales or adds to these channels follows when the plan is applied. Raises ParameterInvalid where
        a number is negative or none is given.
        """
        chosen = tuple(sorted(set(channels)))
        if not chosen or chosen[0] < 0:
            raise ParameterInvalid(
                f"plan: keeping({layer!r}) needs the numbers of channels, from 0, and at least one; got {chosen}.",
                field="plan",
            )
        return self._edited(layer, chosen)

    def _edited(self, layer: str, channels: tuple[int, ...] | None) -> Self:
        others = {name: kept for name, kept in self.edits.items() if name != layer}
        return self.model_copy(update={"edits": {**others, layer: channels}})

"""Sizes of a model before and after a cut, by layer: what a SavedModel states, and what it must state afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coppice.formats.keras.file import LayerPath
from coppice.keras_layers.configuration import Entry

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The shapes that one call of a layer takes and gives, batch included."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSizes:
    """One layer: its class, the sizes of its calls and of its arrays by name."""

    kind: str
    calls: tuple[Call, ...] = ()
    arrays: Mapping[str, Shape] = field(default_factory=dict)
    target: tuple[int, ...] = ()  # of a Reshape, as the configuration states it
    entry: Entry = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """One layer before and after."""

    node: int  # of the layer's object: one layer may be in several places
    was: LayerSizes
    now: LayerSizes

    @property
    def changed(self) -> bool:
        """Whether anything that a graph could state is another number now."""
        return self.was != self.now


Sizes = Mapping[LayerPath, Resized]

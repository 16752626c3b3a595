"""The table of Keras layer classes: name -> how it computes, what arrays it has, which sizes it states, what it holds.

Filled by the decorator `keras_layer` in the layer files, which `__init__` imports explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.masks import MaskRule, dropped

if TYPE_CHECKING:
    from coppice.keras_layers.layer import KerasLayer

#: Names of the arrays of a layer in Keras' order: trainable ones first.
Variables = Callable[[Mapping[str, Any], Dialect], tuple[str, ...]]
#: Shapes of a layer's inputs, batch included.
Shapes = tuple[tuple[int, ...], ...]
#: What the configuration must say once the layer's arrays and its inputs have their new sizes.
Sizes = Callable[["KerasLayer", Shapes], dict[str, Any]]
#: What else must happen to a layer after a cut, before its configuration says the new sizes.
Follow = Callable[["KerasLayer"], None]
#: `call(layer, inputs, ...)`: inputs and results in the structure of Keras' own call: one tensor, or a list of them.
Call = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A layer or model inside a layer: what a wrapper wraps, a cell."""

    name: str  # of the submodule
    entry: dict[str, Any]
    group: str  # where a `.keras` archive keeps its arrays, below those of its owner


#: The parts of a layer with that configuration, in the order of their arrays.
Parts = Callable[[Mapping[str, Any], Dialect], tuple[Part, ...]]


def no_variables(_config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    """Of a layer without arrays."""
    return ()


def no_sizes(_layer: KerasLayer, _shapes: Shapes) -> dict[str, Any]:
    """Of a layer whose configuration states no size that a cut can change."""
    return {}


def nothing(_layer: KerasLayer) -> None:
    """Of a layer for which sizes in its own configuration are all."""


def no_parts(_config: Mapping[str, Any], _dialect: Dialect) -> tuple[Part, ...]:
    """Of a layer that holds no other."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file lays out arrays that are computed in another one, there and back: by the array's name."""

    read: Callable[[str, Tensor], Tensor]
    write: Callable[[str, Tensor], Tensor]


def _as_it_is(_variable: str, array: Tensor) -> Tensor:
    return array


AS_IT_IS = Layout(read=_as_it_is, write=_as_it_is)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerClass:
    """One row of the table."""

    call: Call
    variables: Variables = no_variables
    sizes: Sizes = no_sizes
    follow: Follow = nothing
    statistics: frozenset[str] = frozenset()  # arrays that training doesn't reach by gradient
    masks: MaskRule | None = dropped  # None: the call itself says what masks its results carry
    parts: Parts = no_parts
    groups: tuple[str, ...] = ("",)  # where a `.keras` archive keeps the layer's own arrays, below the layer
    layout: Layout = AS_IT_IS
    lengths: tuple[str, ...] = ()  # numbers of the configuration that say how long an axis is that the layer makes


LAYERS: dict[str, LayerClass] = {}


def keras_layer(
    *names: str,
    variables: Variables = no_variables,
    sizes: Sizes = no_sizes,
    follow: Follow = nothing,
    statistics: tuple[str, ...] = (),
    masks: MaskRule | None = dropped,
    parts: Parts = no_parts,
    groups: tuple[str, ...] = ("",),
    layout: Layout = AS_IT_IS,
    lengths: tuple[str, ...] = (),
) -> Callable[[Call], Call]:
    """Enter the decorated function under the class names; a name that is taken raises."""

    def enter(call: Call) -> Call:
        row = LayerClass(
            call=call,
            variables=variables,
            sizes=sizes,
            follow=follow,
            statistics=frozenset(statistics),
            masks=masks,
            parts=parts,
            groups=groups,
            layout=layout,
            lengths=lengths,
        )
        for name in names:
            if name in LAYERS:
                raise RuntimeError(f"two rows for the Keras layer {name}")
            LAYERS[name] = row
        return call

    return enter

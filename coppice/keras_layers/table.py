"""The table of Keras layer classes: name -> how it computes, what arrays it has, which sizes it states.

Filled by the decorator `keras_layer` in the layer files, which `__init__` imports explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from coppice.keras_layers.dialect import Dialect

if TYPE_CHECKING:
    from coppice.keras_layers.layer import KerasLayer

#: Names of the arrays of a layer in Keras' order: trainable ones first.
Variables = Callable[[Mapping[str, Any], Dialect], tuple[str, ...]]
#: Shapes of a layer's inputs, batch included.
Shapes = tuple[tuple[int, ...], ...]
#: What the configuration must say once the layer's arrays and its inputs have their new sizes.
Sizes = Callable[["KerasLayer", Shapes], dict[str, Any]]
#: `call(layer, inputs, ...)`: inputs in the structure of Keras' own call: one tensor, or a list of them.
Call = Callable[..., Tensor]


def no_variables(_config: Mapping[str, Any], _dialect: Dialect) -> tuple[str, ...]:
    """Of a layer without arrays."""
    return ()


def no_sizes(_layer: KerasLayer, _shapes: Shapes) -> dict[str, Any]:
    """Of a layer whose configuration states no size that a cut can change."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerClass:
    """One row of the table."""

    call: Call
    variables: Variables = no_variables
    sizes: Sizes = no_sizes
    statistics: frozenset[str] = frozenset()  # arrays that training doesn't reach by gradient


LAYERS: dict[str, LayerClass] = {}


def keras_layer(
    *names: str,
    variables: Variables = no_variables,
    sizes: Sizes = no_sizes,
    statistics: tuple[str, ...] = (),
) -> Callable[[Call], Call]:
    """Enter the decorated function under the class names; a name that is taken raises."""

    def enter(call: Call) -> Call:
        row = LayerClass(call=call, variables=variables, sizes=sizes, statistics=frozenset(statistics))
        for name in names:
            if name in LAYERS:
                raise RuntimeError(f"two rows for the Keras layer {name}")
            LAYERS[name] = row
        return call

    return enter

"""Which layer an operator of a `.tflite` file comes from, by the names that TensorFlow gave its tensors.

A tensor is called after the scopes that it was made in, layer within layer: `sequential/conv2d/Relu`. Keras 3 numbers
every scope: `sequential_1/conv2d_1/Relu`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coppice.keras_layers import Generation
from coppice.tracing.network import Layer

#: How often the scopes of Keras 3 may be numbered: once for every call of a layer.
_CALLS = range(1, 5)
#: Layers that run their weights in a loop, or within one operator, whose tensors have no scope.
_LOOPING = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """The layers of a model, and how their Keras calls scopes."""

    layers: Sequence[Layer]
    generation: Generation

    def words(self, names: Iterable[str]) -> list[str]:
        """The scopes of these layers."""
        inner = [_inner(layer) for layer in self.layers if layer.name in set(names)]
        if self.generation is Generation.KERAS_3:
            return [f"{name}_{call}" for name in inner for call in _CALLS]
        return inner

    def layer_of(self, named: str) -> str:
        """The innermost layer in the names of an operator's tensors; for want of one, the names' first."""
        known = {word: layer.name for layer in self.layers for word in self.words([layer.name])}
        words = [word for name in named.split(";") for word in re.split(r"[/:]", name)]
        found = next((known[word] for word in reversed(words) if word in known), None)
        looping = [layer.name for layer in self.layers if layer.kind in _LOOPING]
        return found or ", ".join(looping) or named.split(";", maxsplit=1)[0]

    def by_layer(self, tensors: Mapping[str, str]) -> dict[str, str]:
        """What is said of stored tensors, by the layers that have them."""
        return dict(self._owned(tensors))

    def _owned(self, tensors: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        names = {layer.path: layer.name for layer in self.layers}
        for tensor, text in tensors.items():
            path = tensor.rpartition(".")[0]
            yield names.get(path, path), text


def _inner(layer: Layer) -> str:
    return layer.path.rsplit(".", 1)[-1]

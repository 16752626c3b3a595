"""How wide each layer of a model is: the one yardstick for what two engines took away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import nn

#: Class of a layer, by name -> its tensor and the axis on which its output channels lie.
_OUTPUTS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("Linear", "NonDynamicallyQuantizableLinear", "Bilinear"), ("weight", 0)),
    **{f"Conv{n}d": ("weight", 0) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ("weight", 1) for n in (1, 2, 3)},
    **dict.fromkeys(("Embedding", "EmbeddingBag", "Conv1D"), ("weight", 1)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ("weight_hh_l0", 1)),
    **dict.fromkeys(("LSTMCell", "GRUCell", "RNNCell"), ("weight_hh", 1)),
    "MultiheadAttention": ("in_proj_weight", 0),
}


def widths(model: nn.Module) -> dict[str, int]:
    """Output channels by layer; a subclass (a convolution that standardises its weight) counts as what it is."""
    found = {}
    for path, layer in model.named_modules():
        for kind in type(layer).__mro__:
            read = _reader(kind.__name__)
            if read is not None and (width := read(layer)) is not None:
                found[path] = width
                break
    return found


def _reader(kind: str) -> Callable[[nn.Module], int | None] | None:
    if kind not in _OUTPUTS:
        return None
    name, axis = _OUTPUTS[kind]

    def read(layer: nn.Module) -> int | None:
        tensor = getattr(layer, name, None)
        return None if tensor is None else int(tensor.shape[axis])

    return read


def removed(before: Mapping[str, int], after: Mapping[str, int], outputs: Collection[str]) -> dict[str, int]:
    """Channels and layers that could go and that went, outside of the layers that make the model's outputs."""
    inner = [path for path in before if path not in outputs]
    gone = [before[path] - after.get(path, before[path]) for path in inner]
    return {
        "layers": len(inner),
        "layers_cut": sum(1 for count in gone if count > 0),
        "channels": sum(before[path] for path in inner),
        "channels_cut": sum(gone),
    }

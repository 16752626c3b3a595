"""One Keras layer as a torch module: its configuration, its arrays, and the row that says what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coppice.errors import ModelInvalid
from coppice.keras_layers.configuration import Config, Entry, class_name
from coppice.keras_layers.dialect import Dialect
from coppice.keras_layers.masks import masked
from coppice.keras_layers.table import LayerClass, Shapes
from coppice.keras_layers.tree import replaced
from coppice.records.inputs import MAX_INPUT_ELEMENTS


class KerasLayer(nn.Module):
    """A layer of a Keras model; `kernel`, `gamma`, ... are its parameters, in Keras' layout.

    It holds no size of its own: what can change with a cut is read from the tensors at every call.
    """

    def __init__(
        self,
        *,
        name: str,
        entry: Entry,
        row: LayerClass,
        arrays: Mapping[str, Tensor],
        dialect: Dialect,
        parts: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.layer_name = name
        self.class_name = class_name(entry)
        self.entry = entry
        self.row = row
        self.dialect = dialect
        #: Shapes of the first call's inputs, batch included: what a size in the configuration was written for.
        self.built_shapes: Shapes = ()
        #: A frozen layer, or one called with training=False, stays in inference mode.
        self.inference_only = entry["config"].get("trainable") is False
        for variable, tensor in arrays.items():
            # Keras counts every array as a parameter, moving statistics as the ones that are not trained.
            trainable = tensor.is_floating_point() and variable not in row.statistics and not self.inference_only
            self.register_parameter(variable, nn.Parameter(tensor, requires_grad=trainable))
        for key in row.lengths:
            # Ones, as many as the number says: an axis that is made of them can be traced and cut.
            self.register_buffer(f"ones_{key}", torch.ones(_bounded(self, key)), persistent=False)
        for part, module in (parts or {}).items():
            self.add_module(part, module)

    @property
    def config(self) -> Config:
        """The layer's own part of the model's configuration."""
        config: Config = self.entry["config"]
        return config

    def array(self, variable: str) -> Tensor:
        """The array of that name."""
        found = self.optional(variable)
        if found is None:
            raise RuntimeError(f"layer {self.layer_name!r} ({self.class_name}) has no array {variable!r}")
        return found

    def optional(self, variable: str) -> Tensor | None:
        """The array of that name, or None where the configuration does without: a bias, a scale."""
        return self._parameters.get(variable)

    def length(self, key: str) -> Tensor:
        """The ones that stand for a length in the configuration."""
        return self.get_buffer(f"ones_{key}")

    def train(self, mode: bool = True) -> KerasLayer:
        """Training mode, except where Keras would stay in inference mode."""
        super().train(mode and not self.inference_only)
        return self

    def forward(self, inputs: Any, *extra: Any, mask: Any = None, **named: Any) -> Any:
        """Call the layer as Keras would: `inputs` is a tensor or a list of tensors, `mask` one stated in the wiring."""
        given = _with_mask(inputs, mask)
        result = self.row.call(self, given, *extra, **named)
        if self.row.masks is None:
            return result
        found = self.row.masks(self, given)
        if isinstance(result, Tensor):
            return masked(result, found)
        # Of several results, states have no steps that a mask could speak of.
        return replaced(result, Tensor, lambda x: masked(x, found if found is not None and x.dim() > 2 else None))

    def called(self) -> str:
        """Class and name, for reasons."""
        return f"{self.class_name} at layer {self.layer_name!r}"

    def resized(self) -> None:
        """Nothing by itself: the network brings the configurations of all its layers up to date together."""

    def part(self, name: str) -> nn.Module:
        """The layer or model inside that goes by this name."""
        return self.get_submodule(name)

    def extra_repr(self) -> str:
        """The class, for printing."""
        return self.class_name


def _bounded(layer: KerasLayer, key: str) -> int:
    """A length of the configuration, within reason."""
    length = int(layer.config[key])
    if not 0 <= length <= MAX_INPUT_ELEMENTS:
        raise ModelInvalid(
            f"layer {layer.layer_name!r} ({layer.class_name}) has {key}={length}.", field=layer.layer_name
        )
    return length


def _with_mask(inputs: Any, mask: Any) -> Any:
    """The inputs with the masks that the wiring states for them; what it doesn't state stays."""
    if isinstance(mask, Tensor) and isinstance(inputs, Tensor):
        return masked(inputs, mask)
    if isinstance(mask, list | tuple) and isinstance(inputs, list | tuple):
        return [_with_mask(one, own) for one, own in zip(inputs, mask, strict=False)]
    return inputs

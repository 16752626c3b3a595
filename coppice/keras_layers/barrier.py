"""Layers that are passed over: a Lambda, a custom layer, a function of the user's own.

Their code is never run. They are taken as shape-preserving, which the arrays after them confirm or refute, and pass
through an operation that no propagation rule knows, so that every channel that touches them stays, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coppice.errors import UnsupportedLayer
from coppice.keras_layers.configuration import Config, Entry, class_name
from coppice.keras_layers.tree import tensors_in


@torch.library.custom_op("coppice::opaque", mutates_args=())
def opaque(tensors: Sequence[Tensor], reason: str) -> Tensor:  # noqa: ARG001  # the tracer reads the reason
    """The first tensor, standing for the result of something unknown on all of them."""
    return tensors[0].clone()


@opaque.register_fake
def _(tensors: Sequence[Tensor], reason: str) -> Tensor:  # noqa: ARG001  # same signature as the operation
    return torch.empty_like(tensors[0])


def _keep_count(ctx: Any, inputs: tuple[Sequence[Tensor], str], output: Tensor) -> None:  # noqa: ARG001
    ctx.others = len(inputs[0]) - 1


def _gradient(ctx: Any, grad: Tensor) -> tuple[list[Tensor | None], None]:
    return [grad, *([None] * ctx.others)], None


opaque.register_autograd(_gradient, setup_context=_keep_count)


class Barrier(nn.Module):
    """A layer that is not computed. Its arrays ride along untouched."""

    def __init__(self, *, name: str, entry: Entry, arrays: dict[str, Tensor]) -> None:
        super().__init__()
        self.layer_name = name
        self.class_name = class_name(entry)
        self.entry = entry
        for variable, tensor in arrays.items():
            self.register_parameter(variable, nn.Parameter(tensor, requires_grad=False))

    @property
    def config(self) -> Config:
        """The layer's own part of the model's configuration; never edited."""
        config: Config = self.entry["config"]
        return config

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The first input, if all have its shape; what the layer makes of others can't be known."""
        tensors = tensors_in([inputs, named])
        if not tensors or any(tensor.shape != tensors[0].shape for tensor in tensors):
            shapes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in tensors)
            raise UnsupportedLayer(
                f"layer {self.layer_name!r} is a {self.class_name}, which Coppice can't compute, and its inputs "
                f"({shapes or 'none'}) don't say what comes out. Replace it by standard Keras layers.",
                field=self.layer_name,
            )
        reason = f"layer {self.layer_name!r} is a {self.class_name}, whose code is not run"
        passed: Tensor = opaque([*tensors, *self.parameters()], reason)
        return passed

    def resized(self) -> None:
        """Nothing by itself: the network brings the configurations of all its layers up to date together."""

    def extra_repr(self) -> str:
        """The class, for printing."""
        return self.class_name

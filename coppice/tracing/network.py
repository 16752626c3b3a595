"""A model as the engine sees it, whatever framework wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from coppice.tracing.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer under the name that its user gave it."""

    name: str
    path: str  # of the submodule, as in `module.get_submodule(path)`
    kind: str  # class name to show: Conv2d, BatchNormalization, ...


def stored(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a network by name; one that is stored under several names comes once, under the first."""
    return _named(module, (_parameters, _buffers, _plain_attributes))


def tables(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that modules keep in plain attributes, by name: positions, say, which no state dict holds."""
    known = _named(module, (_parameters, _buffers))
    return {name: tensor for name, tensor in stored(module).items() if name not in known}


def _named(module: nn.Module, kinds: Sequence[Callable[[nn.Module], Mapping[str, Any]]]) -> dict[str, torch.Tensor]:
    parts, found, seen = list(module.named_modules()), dict[str, torch.Tensor](), set[int]()
    for contents in kinds:
        for path, part in parts:
            for name, tensor in contents(part).items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    found[f"{path}.{name}" if path else name] = tensor
    return found


def _parameters(part: nn.Module) -> Mapping[str, Any]:
    return part._parameters


def _buffers(part: nn.Module) -> Mapping[str, Any]:
    return part._buffers


def _plain_attributes(part: nn.Module) -> Mapping[str, Any]:
    # What is computed (the weight under the weight norm of old) is a table of nothing.
    return {
        name: value
        for name, value in vars(part).items()
        if type(value) is torch.Tensor
        and value.is_leaf
        and (value.is_floating_point() or value.is_complex())
        and value.is_contiguous()
    }


def fade(
    module: nn.Module, kept: Mapping[str, Mapping[int, Sequence[int]]], factor: Callable[[torch.Tensor], float]
) -> None:
    """Multiply by `factor(tensor)`, in place, what lies outside of the positions kept: tensor -> axis -> positions."""
    with torch.no_grad():
        for name, tensor in stored(module).items():  # a second name of a tensor is passed over, not multiplied twice
            factors = torch.ones([1] * tensor.dim(), dtype=tensor.dtype, device=tensor.device)
            for axis, positions in kept.get(name, {}).items():
                along = torch.full((tensor.shape[axis],), factor(tensor), dtype=tensor.dtype, device=tensor.device)
                along[list(positions)] = 1
                factors = factors * along.reshape([-1 if a == axis else 1 for a in range(tensor.dim())])
            if name in kept:
                tensor.mul_(factors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A module that runs in torch, one batch for it, and its layers in the order of the user's own listing.

    The tensors of a network are the named parameters and buffers of `module`. A Keras model is a module too: the
    interpreter's, with one submodule per Keras layer and the arrays of the file as its parameters, in Keras' layout.
    """

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()
    #: One sample, where it is not the first row of every input: a graph may be made for one batch size, or take states.
    single: tuple[torch.Tensor, ...] | None = None
    #: What the user sent of his data, if anything: at least `samples.FEWEST`, all finite.
    samples: Samples | None = None

    @property
    def sample(self) -> tuple[torch.Tensor, ...]:
        """The inputs of the smallest run: what measurements and tables are made with."""
        return tuple(entry[:1] for entry in self.inputs) if self.single is None else self.single


@runtime_checkable
class Resizable(Protocol):
    """A module that keeps sizes elsewhere than in torch's own attributes and must follow its sliced tensors."""

    def resized(self) -> None:
        """Bring everything that states a size into agreement with the tensors as they now are."""

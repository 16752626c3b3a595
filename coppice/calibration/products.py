"""The calls in which what flows through a model is multiplied by a stored tensor, in one normal form.

A convolution of any kind, a linear layer, an attention's projection and a Keras kernel come, at the dispatcher, as one
of a few operators with a weight that is a view of a stored tensor. In normal form each is, for every group of it,

    outputs (rows x outputs) = inputs (rows x features) @ matrix (features x outputs) + what does not depend on it

where a row is one position of the output, and the features are what the weight meets there: for a convolution, the
channels of its window. A weight that was computed (weight norm) is no view of a stored tensor, and so no product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from coppice.calibration.taps import Window, taps
from coppice.tracing.network import stored


class Product(Protocol):
    """One call in normal form; see the head of this file. `picks` are numbers of rows, ascending."""

    @property
    def tensor(self) -> str:
        """Name of the stored tensor that the weight is a view of."""

    @property
    def weight(self) -> Tensor:
        """The weight as the call got it: writing into it writes into the stored tensor."""

    @property
    def bias(self) -> Tensor | None:
        """What the call itself adds, one number for each output."""

    def rows(self, result: Tensor) -> int:
        """How many rows there are, by the call's result."""

    def inputs(self, result: Tensor, picks: Tensor) -> Tensor:
        """Shape (groups, picks, features)."""

    def outputs(self, result: Tensor, picks: Tensor) -> Tensor:
        """Of the call's result, or of a tensor of its shape; shape (groups, picks, outputs)."""

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight, or a tensor of its shape, as (groups, features, outputs)."""

    def assign(self, matrix: Tensor) -> None:
        """Write another matrix into the stored tensor."""

    def channels(self) -> Tensor:
        """Everything that the weight meets, without windows: shape (groups, rows of the input, channels)."""

    def bare(self) -> Product:
        """The same call without what flowed in, to keep for its weight."""


class Owners:
    """The stored tensors of a module, found by a view of them."""

    def __init__(self, module: nn.Module) -> None:
        self._by_storage: dict[int, list[tuple[int, int, str, Tensor]]] = {}
        for name, tensor in stored(module).items():
            start, size = int(tensor.storage_offset()), tensor.numel()
            if tensor.is_floating_point() and size:
                entry = (start, start + size, name, tensor)
                self._by_storage.setdefault(tensor.untyped_storage()._cdata, []).append(entry)

    def of(self, view: object) -> str | None:
        """The name of the stored tensor that this is a view of; None of other tensors."""
        found = self.stored(view)
        return None if found is None else found[0]

    def stored(self, view: object) -> tuple[str, Tensor] | None:
        """Name and tensor; several tensors may share a storage, as those of a recurrent layer do."""
        if not isinstance(view, Tensor):
            return None
        # An axis without a step shows the same elements again: one weight for every matrix of a batch.
        shown = prod(size for size, step in zip(view.shape, view.stride(), strict=True) if step)
        for start, end, name, tensor in self._by_storage.get(view.untyped_storage()._cdata, ()):
            if start <= view.storage_offset() < end and shown <= tensor.numel() and view.dtype is tensor.dtype:
                return name, tensor
        return None

    def seen_as(self, view: Tensor, values: Tensor) -> Tensor:
        """Numbers of the stored tensor's elements, in its shape, as a view of it shows the elements."""
        found = self.stored(view)
        if found is None:
            raise ValueError("not a view of a stored tensor")
        tensor = found[1]
        laid = torch.empty_strided(tensor.shape, tensor.stride(), dtype=values.dtype).copy_(values)
        return laid.as_strided(view.shape, view.stride(), view.storage_offset() - tensor.storage_offset())


def product_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], owners: Owners) -> Product | None:
    """The call in normal form; None where it multiplies no activations by one stored tensor."""
    made = _FORMS.get(func._schema.name)
    return None if made is None or any(kwargs.get(name, 1) != 1 for name in ("alpha", "beta")) else made(args, owners)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution, grouped or not, transposed or not, over any number of spatial axes."""

    tensor: str
    weight: Tensor
    bias: Tensor | None
    entering: Tensor
    window: Window
    groups: int

    def rows(self, result: Tensor) -> int:
        """A row per sample and position of the output."""
        return result.shape[0] * prod(result.shape[2:])

    def inputs(self, result: Tensor, picks: Tensor) -> Tensor:
        """Features are (channel of the group, offset in the kernel), the offset running fastest."""
        read, written = self.entering.shape[2:], result.shape[2:]
        at = taps(self.window, self.weight.shape[2:], read, written)
        sample, position = picks // prod(written), picks % prod(written)
        padded = torch.nn.functional.pad(self.entering.flatten(2), (0, 1))  # the last position is padding
        found = padded[sample[:, None], :, at[position]]  # shape (picks, offsets, channels)
        split = found.reshape(*found.shape[:2], self.groups, -1)
        return split.permute(2, 0, 3, 1).flatten(2)

    def outputs(self, result: Tensor, picks: Tensor) -> Tensor:
        """Outputs are the group's filters."""
        flat, positions = result.flatten(2), prod(result.shape[2:])
        found = flat[picks // positions, :, picks % positions]
        return found.reshape(len(picks), self.groups, -1).movedim(1, 0)

    def matrix(self, weight: Tensor) -> Tensor:
        """From (filters, channels of a group, ...), or (channels, filters of a group, ...) where transposed."""
        grouped = weight.reshape(self.groups, -1, weight.shape[1], prod(weight.shape[2:]))
        if self.window.transposed:  # (groups, channels, filters, offsets)
            return grouped.transpose(2, 3).flatten(1, 2)
        return grouped.flatten(2).transpose(1, 2)

    def assign(self, matrix: Tensor) -> None:
        """The inverse of `matrix`."""
        if self.window.transposed:
            offsets = prod(self.weight.shape[2:])
            grouped = matrix.reshape(self.groups, -1, offsets, self.weight.shape[1]).transpose(2, 3)
        else:
            grouped = matrix.transpose(1, 2)
        self.weight.copy_(grouped.reshape(self.weight.shape))

    def channels(self) -> Tensor:
        """A row per sample and position of the input."""
        flat = self.entering.flatten(2)
        split = flat.reshape(flat.shape[0], self.groups, -1, flat.shape[2])
        return split.permute(1, 0, 3, 2).flatten(1, 2)

    def bare(self) -> Product:
        """Without samples."""
        return replace(self, entering=self.entering.new_empty(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixProduct:
    """A matrix product, or a batch of them with a weight each; a weight on the left is seen transposed."""

    tensor: str
    weight: Tensor
    bias: Tensor | None
    entering: Tensor
    left: bool
    batched: bool  # whether every matrix of the batch has a weight of its own

    def rows(self, result: Tensor) -> int:
        """A row per vector that is multiplied."""
        return self._upright(result).shape[1]

    def inputs(self, result: Tensor, picks: Tensor) -> Tensor:  # noqa: ARG002  a convolution needs it
        """Features are the contracted axis."""
        return self._upright(self.entering)[:, picks]

    def outputs(self, result: Tensor, picks: Tensor) -> Tensor:
        """Outputs are the weight's other axis."""
        return self._upright(result)[:, picks]

    def matrix(self, weight: Tensor) -> Tensor:
        """As it is multiplied."""
        turned = weight.transpose(-1, -2) if self.left else weight
        if turned.dim() == 2:
            return turned[None]
        return turned if self.batched else turned[:1]

    def assign(self, matrix: Tensor) -> None:
        """The inverse of `matrix`."""
        turned = matrix.transpose(1, 2) if self.left else matrix
        if self.weight.dim() == 2:
            self.weight.copy_(turned[0])
        elif self.batched:
            self.weight.copy_(turned)
        else:  # one weight, shown once for every matrix of the batch
            self.weight[0].copy_(turned[0])

    def channels(self) -> Tensor:
        """A row per vector that is multiplied."""
        return self._upright(self.entering)

    def bare(self) -> Product:
        """Without vectors."""
        return replace(self, entering=self.entering.new_empty(0))

    def _upright(self, tensor: Tensor) -> Tensor:
        """As (groups, rows, columns)."""
        turned = tensor.transpose(-1, -2) if self.left else tensor
        if turned.dim() == 2:
            return turned[None]
        return turned if self.batched else turned.flatten(0, 1)[None]


def _convolution(args: Sequence[Any], owners: Owners) -> Product | None:
    entering, weight, bias, stride, padding, dilation, transposed, _, groups = args
    name = owners.of(weight)
    if name is None or owners.of(entering) is not None:
        return None
    axes = weight.dim() - 2
    window = Window(
        stride=_each(stride, axes),
        padding=_each(padding, axes),
        dilation=_each(dilation, axes),
        transposed=transposed,
    )
    return Convolution(tensor=name, weight=weight, bias=bias, entering=entering, window=window, groups=groups)


def _each(given: Sequence[int], axes: int) -> Sequence[int]:
    return given if len(given) == axes else [given[0]] * axes


def _product(args: Sequence[Any], owners: Owners) -> Product | None:
    a, b = args
    return _matrix_product(a, b, None, owners)


def _sum_with_product(args: Sequence[Any], owners: Owners) -> Product | None:
    added, a, b = args
    return _matrix_product(a, b, added if added.dim() == 1 else None, owners)


def _matrix_product(a: Tensor, b: Tensor, bias: Tensor | None, owners: Owners) -> Product | None:
    left, right = owners.of(a), owners.of(b)
    name = left or right
    if name is None or (left is not None and right is not None):
        return None
    weight, entering = (a, b) if left is not None else (b, a)
    batched = weight.dim() == 3 and weight.stride(0) != 0 and weight.shape[0] > 1
    if any(step == 0 and size > 1 for step, size in list(zip(weight.stride(), weight.shape, strict=True))[-2:]):
        return None
    return MatrixProduct(
        tensor=name, weight=weight, bias=bias, entering=entering, left=left is not None, batched=batched
    )


#: Operator -> how its call is read.
_FORMS: dict[str, Callable[[Sequence[Any], Owners], Product | None]] = {
    "aten::convolution": _convolution,
    "aten::mm": _product,
    "aten::bmm": _product,
    "aten::addmm": _sum_with_product,
    "aten::baddbmm": _sum_with_product,
}

"""Tensors on grids, and a model whose weights lie on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from coppice.records.quantization import Precision, Rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """A stored tensor as whole numbers of a grid times a scale: `values == codes * scale`."""

    #: int8, of the tensor's shape.
    codes: Tensor
    #: float32, of as many axes; of size 1 along those that share it.
    scale: Tensor
    bits: int
    rounding: Rounding

    @property
    def values(self) -> Tensor:
        """float32, of the tensor's shape."""
        return self.codes.float() * self.scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedModel:
    """A copy of a module whose tensors have the values that the written file will have, in float32.

    A file that keeps activations as floats computes exactly what this module does, to rounding.
    """

    module: nn.Module
    #: Name of a stored tensor -> its codes: of weights, and of biases where these have few bits, too.
    coded: Mapping[str, Coded] = field(default_factory=dict)
    #: Name of a stored tensor -> the floats of fewer bits that its values were rounded to.
    floats: Mapping[str, Precision] = field(default_factory=dict)
    #: Stored weight -> why it stays as it was.
    left: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

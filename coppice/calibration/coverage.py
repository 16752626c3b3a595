"""Which stored tensors are weights through and through: every element multiplies, and belongs to one output alone.

Only these can be kept as codes. The parts of one (the queries, keys and values of an attention) may be met one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.moments import Region, region
from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.tracing import stored


class Coverage(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Marks the elements that products multiply with."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        #: Stored vectors that products add to what they give, in the order of the pass.
        self.biases: dict[str, None] = {}
        self._overlapping: set[str] = set()
        self._stored = stored(module)
        self._met: dict[str, Tensor] = {}
        self._regions: set[Region] = set()

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: the elements of its weight."""
        shown = region(product.tensor, product.weight)
        if shown not in self._regions:
            self._regions.add(shown)
            self._mark(product)
        bias = self.owners.of(product.bias)
        if bias is not None:
            self.biases[bias] = None
        return func(*args, **kwargs)

    def _mark(self, product: Product) -> None:
        name, weight, tensor = product.tensor, product.weight, self._stored[product.tensor]
        if name not in self._met:
            self._met[name] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=torch.bool).zero_()
        start = weight.storage_offset() - tensor.storage_offset()
        part = self._met[name].as_strided(weight.shape, weight.stride(), start)
        if part.any():
            self._overlapping.add(name)
        part.fill_(value=True)

    @cached_property
    def torn(self) -> dict[str, str]:
        """Weights that can't be kept as codes, and why."""
        parts = {name: "only a part of it is multiplied with" for name, met in self._met.items() if not met.all()}
        return parts | dict.fromkeys(self._overlapping, "its parts overlap where it is multiplied with")


def covered(module: nn.Module, sample: Sequence[Tensor]) -> Coverage:
    """One pass over `module`, in evaluation mode; raises ForwardFailed."""
    watch = Coverage(module)
    watch.over(sample)
    return watch

"""A pass over a model in which every product's weight is rounded onto a grid on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.products import Product
from coppice.calibration.watch import Watch
from coppice.quant import GRIDS, Coded
from coppice.records.quantization import Rounding
from coppice.tracing import stored


@dataclass(slots=True, kw_only=True, eq=False)
class Laid:
    """The codes and scales of one stored tensor, laid out as it is; views of it that are rounded write into them."""

    codes: Tensor
    scale: Tensor
    bits: int

    def coded(self) -> Coded:
        """With the scale as small as it is the same along an axis."""
        scale = self.scale
        for axis in range(scale.dim()):
            first = scale.narrow(axis, 0, 1)
            if bool((scale == first).all()):
                scale = first
        return Coded(codes=self.codes.to(torch.int8), scale=scale.clone(), bits=self.bits, rounding=Rounding.NEAREST)


class Rounded(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Rounds the weights of products to so many bits; writes into the module's tensors."""

    def __init__(self, module: nn.Module, bits: Mapping[str, int]) -> None:
        super().__init__(module)
        self.laid: dict[str, Laid] = {}
        self._bits = bits
        self._stored = stored(module)
        self._done: set[tuple[str, int, tuple[int, ...]]] = set()

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its weight."""
        region = (product.tensor, int(product.weight.storage_offset()), tuple(product.weight.shape))
        if product.tensor in self._bits and region not in self._done:
            self._done.add(region)
            self._round(product)
        return func(*args, **kwargs)

    def _round(self, product: Product) -> None:
        matrix, grid = product.matrix(product.weight).float(), GRIDS[self._bits[product.tensor]]
        scale = (matrix.abs().amax(1, keepdim=True) / grid.largest).clamp(min=torch.finfo(torch.float32).tiny)
        codes = grid.nearest(matrix / scale)
        tensor = self._stored[product.tensor]
        laid = self.laid.setdefault(
            product.tensor,
            Laid(codes=torch.zeros_like(tensor), scale=torch.zeros_like(tensor), bits=grid.bits),
        )
        self._lay(product, tensor, laid.codes, codes)
        self._lay(product, tensor, laid.scale, scale.expand_as(matrix))
        product.assign((codes * scale).to(product.weight.dtype))

    @staticmethod
    def _lay(product: Any, tensor: Tensor, into: Tensor, matrix: Tensor) -> None:
        """Write a matrix where the product's weight lies in the tensor."""
        weight = product.weight
        view = into.as_strided(
            weight.shape, weight.stride(), weight.storage_offset() - tensor.storage_offset() + into.storage_offset()
        )
        replace(product, weight=view).assign(matrix.to(into.dtype))


def rounded(module: nn.Module, inputs: Sequence[Tensor], bits: Mapping[str, int]) -> dict[str, Coded]:
    """Round weights of `module` in place in one pass on `inputs`; gives their codes. Raises ForwardFailed."""
    watch = Rounded(module, bits)
    watch.over(inputs)
    return {name: laid.coded() for name, laid in watch.laid.items()}

"""A pass over a model in which every product's weight is rounded onto a grid on its way.

With samples it goes as the repair of a cut does (`repair`): when it comes to a product, its inputs are those of the
model as rounded so far, and what is aimed at are the outputs of the model in floats. So each product makes up for what
those before it lost, as far as its inputs tell (asymmetric calibration: Li et al., GPTAQ, ICML 2025, section 3; arXiv
2504.02692), then is rounded, and its outputs get their mean and deviation back (`correction`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.correction import correction, given
from coppice.calibration.least_squares import SYSTEM_BYTES
from coppice.calibration.moments import Region, region
from coppice.calibration.normal_equations import Equations, equations
from coppice.calibration.products import Product
from coppice.calibration.repair import Method, Repaired, chunks
from coppice.calibration.survey import Seen, Survey
from coppice.calibration.targets import Noted, Target
from coppice.quant import GRIDS, Coded
from coppice.quant.adaround import adaround
from coppice.quant.calibrated import calibrated
from coppice.quant.clipped import clipped
from coppice.quant.gptq import factored
from coppice.quant.matrices import Coarse
from coppice.quant.nearest import nearest
from coppice.records.quantization import Rounding
from coppice.records.samples_needed import CALIBRATED

#: What an entry of a Gram matrix takes at most, summed, ordered and factored, bytes.
PER_ENTRY = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to become of one stored tensor; the rounding is none of those that leave it open."""

    bits: int
    rounding: Rounding


@dataclass(slots=True, kw_only=True, eq=False)
class Laid:
    """The codes and scales of one stored tensor, laid out as it is; views of it that are rounded write into them."""

    codes: Tensor
    scale: Tensor
    order: Order

    def coded(self) -> Coded:
        """With the scale as small as it is the same along an axis."""
        scale = self.scale
        for axis in range(scale.dim()):
            first = scale.narrow(axis, 0, 1)
            if bool((scale == first).all()):
                scale = first
        return Coded(
            codes=self.codes.to(torch.int8).contiguous(),
            scale=scale.clone(memory_format=torch.contiguous_format),
            bits=self.order.bits,
            rounding=self.order.rounding,
        )


class Rounded(Repaired):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Rounds the weights of products as ordered; writes into the module's tensors."""

    def __init__(self, module: nn.Module, orders: Mapping[str, Order], noted: Noted, survey: Survey) -> None:
        super().__init__(module, noted, survey, Method.RESIDUAL)
        self.laid: dict[str, Laid] = {}
        self._orders = orders
        self._done: set[Region] = set()

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its weight, the first time that it is met."""
        order, shown = self._orders.get(product.tensor), region(product.tensor, product.weight)
        if order is None or shown in self._done:
            return self.hold(func(*args, **kwargs))
        self._done.add(shown)
        target = self._noted.products.get(product.tensor)
        if target is None:
            self._assign(product, order, _alone(product, order))
            return self.hold(func(*args, **kwargs))
        result = func(*args, **kwargs)
        self._calibrate(product, result, target, order)
        self.fitted.append(product.tensor)
        return self.hold(func(*args, **kwargs))

    def _calibrate(self, product: Product, result: Tensor, target: Target, order: Order) -> None:
        """Round by what the product meets, and correct what is left."""
        seen, matrix = self._seen[product.tensor], product.matrix(product.weight).float()
        now, lost = product.outputs(result, target.picks).float(), self._lost(product, result, target, seen)
        wanted = target.outputs if lost is None else target.outputs + lost

        def rows() -> Iterator[tuple[Tensor, Tensor]]:
            return chunks(product, result, target.picks, wanted - now, matrix.shape[1])

        found = equations(rows(), centred=seen.centred) if order.rounding in CALIBRATED else None
        usable = found if found is not None and found.finite else None
        coarse = _alone(product, order) if usable is None else _rounded(matrix, usable, order)
        before, after = (given((x for x, _ in rows()), one) for one in (matrix, coarse.values))
        fixed = correction(after, before, now, wanted, centred=seen.centred)
        if fixed.shift.isfinite().all():
            coarse = replace(coarse, scale=coarse.scale * fixed.factor)
            self._shift(product, seen, fixed.shift.flatten(), settled=lost is not None)
        self._assign(product, order, coarse)

    def _assign(self, product: Product, order: Order, coarse: Coarse) -> None:
        tensor = self._stored[product.tensor]
        laid = self.laid.setdefault(product.tensor, Laid(codes=_like(tensor), scale=_like(tensor), order=order))
        _lay(product, tensor, laid.codes, coarse.codes)
        _lay(product, tensor, laid.scale, coarse.scale.expand_as(coarse.codes))
        product.assign(coarse.values.to(product.weight.dtype))


def too_wide(seen: Seen) -> bool:
    """Whether the inputs of a product are too many for their Gram matrix to fit into memory."""
    return PER_ENTRY * seen.outputs[0] * seen.features**2 > SYSTEM_BYTES


def rounded(
    module: nn.Module, inputs: Sequence[Tensor], orders: Mapping[str, Order], noted: Noted, survey: Survey
) -> dict[str, Coded]:
    """Round weights of `module` in place in one pass on `inputs`; gives their codes. Raises ForwardFailed.

    `noted`: what the module gave on the same inputs before; empty where it is rounded without samples.
    """
    watch = Rounded(module, orders, noted, survey)
    watch.over(inputs)
    return {name: laid.coded() for name, laid in watch.laid.items()}


def _alone(product: Product, order: Order) -> Coarse:
    """By the weights alone."""
    matrix, grid = product.matrix(product.weight).float(), GRIDS[order.bits]
    return (nearest if order.rounding is Rounding.NEAREST else clipped)(matrix, grid)


def _rounded(matrix: Tensor, found: Equations, order: Order) -> Coarse:
    """Fitted to what is missing, then by the inputs."""
    grid = GRIDS[order.bits]
    gram = found.definite()
    triangle = factored(gram)
    wanted, gram = (matrix.double() + triangle.solved(found.cross)).float(), gram.float()
    coarse = calibrated(wanted, gram, triangle, grid)
    return coarse if order.rounding is Rounding.GPTQ else adaround(coarse, wanted, gram, grid)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=torch.float32).zero_()


def _lay(product: Any, tensor: Tensor, into: Tensor, matrix: Tensor) -> None:
    """Write a matrix where the product's weight lies in the tensor."""
    weight = product.weight
    view = into.as_strided(weight.shape, weight.stride(), weight.storage_offset() - tensor.storage_offset())
    replace(product, weight=view).assign(matrix)

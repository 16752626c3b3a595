"""A pass over a model in which every product's weight is rounded onto a grid on its way.

With samples it goes as the repair of a cut does (`repair`): when it comes to a product, its inputs are those of the
model as rounded so far, and what is aimed at are the outputs of the model in floats. So each product makes up for what
those before it lost, as far as its inputs tell (asymmetric calibration: Li et al., GPTAQ, ICML 2025, section 3; arXiv
2504.02692), then is rounded, and its outputs get their mean and deviation back (`correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from coppice.calibration.survey import Survey
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
        missing = wanted - now

        def rows() -> Iterator[tuple[Tensor, Tensor]]:
            return chunks(product, result, target.picks, missing, matrix.shape[1])

        coarse = None
        if order.rounding in CALIBRATED:
            coarse = _by_inputs(matrix, rows, missing, order, centred=seen.centred)
        coarse = coarse or _alone(product, order)
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


def _by_inputs(
    matrix: Tensor, rows: Callable[[], Iterable[tuple[Tensor, Tensor]]], missing: Tensor, order: Order, *, centred: bool
) -> Coarse | None:
    """Rounded by the inputs, as many of them at once as their Gram matrix has room for; None where some are no numbers.

    `missing` is written to: what inputs that come first leave, those that come later make up for.
    """
    width = int((SYSTEM_BYTES / PER_ENTRY / matrix.shape[0]) ** 0.5)
    count = -(-matrix.shape[1] // width)
    scale = clipped(matrix, GRIDS[order.bits]).scale if count > 1 else None
    parts: list[Coarse] = []
    for part in torch.arange(matrix.shape[1]).tensor_split(count):
        some = slice(int(part[0]), int(part[-1]) + 1)
        found = equations(((x[:, :, some], r) for x, r in rows()), centred=centred)
        if not found.finite:
            return None
        parts.append(_rounded(matrix[:, some], found, order, scale))
        if count > 1:
            change = parts[-1].values - matrix[:, some]
            missing -= torch.cat([x[:, :, some] @ change for x, _ in rows()], 1)
    return Coarse(codes=torch.cat([one.codes for one in parts], 1), scale=parts[0].scale)


def _rounded(matrix: Tensor, found: Equations, order: Order, scale: Tensor | None) -> Coarse:
    """Fitted to what is missing, then rounded by the inputs."""
    grid, gram = GRIDS[order.bits], found.definite()
    triangle = factored(gram)
    wanted, gram = (matrix.double() + triangle.solved(found.cross)).float(), gram.float()
    coarse = calibrated(wanted, gram, triangle, grid, scale)
    return coarse if order.rounding is Rounding.GPTQ else adaround(coarse, wanted, gram, grid)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=torch.float32).zero_()


def _lay(product: Any, tensor: Tensor, into: Tensor, matrix: Tensor) -> None:
    """Write a matrix where the product's weight lies in the tensor."""
    weight = product.weight
    view = into.as_strided(weight.shape, weight.stride(), weight.storage_offset() - tensor.storage_offset())
    replace(product, weight=view).assign(matrix)

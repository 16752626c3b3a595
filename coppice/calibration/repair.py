"""Repair of a cut model: every product is fitted, in the order of the pass, to what the original's gave.

One pass over the original notes what there is to fit to (`targets`). Then one pass over the cut model: when it comes to
a product, its inputs are those of the model as repaired so far, so each is fitted against the error that is really left
(sequential and asymmetric reconstruction: He et al. 2017, section 3.2; El Halabi et al., Data-Efficient Structured
Pruning via Submodular Optimization, NeurIPS 2022). Its weights are changed by ridge regression towards what they are
(`least_squares`), its bias takes the mean, and each batch norm gets the statistics of what now arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.least_squares import fit
from coppice.calibration.products import Product
from coppice.calibration.survey import Norm, Seen, Survey, norm_of
from coppice.calibration.targets import Holding, Noted, Target, beside, moments
from coppice.tracing import stored

#: Elements of the inputs of a product that are gathered at once: 128 MiB in float32.
CHUNK = 32 * 1024 * 1024
#: Missing less than this part of its outputs, a product is left as it is: rounding.
NOTHING_MISSING = 1e-5
#: A batch norm that scales by less than this part of what it divides by.
SWITCHED_OFF = 1e-2


class Method(StrEnum):
    """How much is fitted."""

    BATCH_NORM = "batch_norm"  # the statistics of batch norms alone
    LEAST_SQUARES = "least_squares"  # weights, biases, and the means of batch norms
    RESIDUAL = "residual"  # the same, and branches make up for what their shortcuts have lost


class Repaired(Holding):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Fits every product and every batch norm of the cut model on the way; writes into its tensors."""

    def __init__(self, module: nn.Module, noted: Noted, survey: Survey, method: Method) -> None:
        super().__init__(module, survey.branching if method is Method.RESIDUAL else frozenset())
        self.fitted: list[str] = []
        self._noted, self._seen, self._method = noted, survey.seen, method
        self._feeding = survey.feeding
        self._stored = stored(module)
        self._settled: set[str] = set()  # batch norms whose mean took the shift of a product
        #: Batch norms as the cut left them, and what arrived there: mean and variance, each time.
        self._unmoved: dict[str, tuple[Tensor, Tensor]] = {}
        self._arrived: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its weights, and the bias that goes with them."""
        result = func(*args, **kwargs)
        target = None if self._method is Method.BATCH_NORM else self._noted.products.get(product.tensor)
        if target is None or product.tensor in self.fitted:
            return self.hold(result)
        seen = self._seen[product.tensor]
        missing = target.outputs - product.outputs(result, target.picks).float()
        lost = self._lost(product, result, target, seen)
        if lost is not None:
            missing += lost
        if not missing.norm() > NOTHING_MISSING * target.outputs.norm():
            return self.hold(result)
        matrix, rows = product.matrix(product.weight), len(target.picks)
        change = fit(chunks(product, result, target.picks, missing, matrix.shape[1]), rows, centred=seen.centred)
        changed = (matrix.double() + change.matrix).to(matrix.dtype)
        if not (changed.isfinite().all() and change.shift.isfinite().all()):
            return self.hold(result)
        product.assign(changed)
        self._shift(product, seen, change.shift.flatten(), settled=lost is not None)
        self.fitted.append(product.tensor)
        return self.hold(func(*args, **kwargs))

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A batch norm: its statistics move as what arrives moved."""
        norm = norm_of(func._schema.name, args, self.owners)
        if norm is not None and norm.mean in self._noted.norms and norm.mean not in self._settled:
            self._correct(norm, args[0])
        return super().passed(func, args, kwargs)

    def _correct(self, norm: Norm, arriving: Tensor) -> None:
        """Move stored statistics as what arrived moved: on the mean of the meetings so far, where there are several."""
        name, mean, variance = norm.mean, self._stored[norm.mean], self._stored[norm.variance]
        mean_then, variance_then = self._unmoved.setdefault(name, (mean.clone(), variance.clone()))
        found = self._arrived.setdefault(name, [])
        found.append(moments(arriving))
        noted = self._noted.norms[name][: len(found)]
        # Not simply what the samples give: what training saw, moved by what the cut did to the samples. With few
        # samples their own mean and variance would be further off than the stored ones.
        moved = [now - then.mean for (now, _), then in zip(found, noted, strict=True)]
        mean.copy_(mean_then + torch.stack(moved).mean(0))
        products = self._feeding.get(name, ())
        if self._method is Method.BATCH_NORM or (products and not any(one in self.fitted for one in products)):
            # Fitted outputs have the original's scale, less what could not be explained; those of a product that could
            # not be fitted (its weights serve several branches) have lost of it what the cut took.
            now = torch.stack([one for _, one in found]).mean(0)
            then = torch.stack([one.variance for one in noted]).mean(0)
            ratio = (now / then).where(then > 0, torch.ones(())).nan_to_num(1.0, 1.0, 1.0)
            variance.copy_(variance_then * ratio)

    def _lost(self, product: Product, result: Tensor, target: Target, seen: Seen) -> Tensor | None:
        """What the other side of the sum has lost, in the measure of the product; None where there is none."""
        now = None if target.other is None else beside(product, result, target.picks, self.held(seen))
        if now is None or target.other is None or seen.branch is None:
            return None
        lost = target.other - now.float()
        norm = seen.branch.norm
        if norm is not None:
            deviation = (self._stored[norm.variance] + norm.epsilon).sqrt()
            scale = torch.ones_like(deviation) if norm.scale is None else self._stored[norm.scale]
            # A channel that the norm all but switches off can't make up for anything.
            factor = torch.where(scale.abs() > SWITCHED_OFF * deviation, deviation / scale, torch.zeros_like(scale))
            lost = lost * factor.reshape(lost.shape[0], 1, -1)
        return lost

    def _shift(self, product: Product, seen: Seen, shift: Tensor, *, settled: bool) -> None:
        """Add to the outputs where they have a bias; where the mean of a batch norm does, that is set later."""
        name = self.owners.of(product.bias) or seen.bias
        norm = seen.branch.norm if seen.branch is not None and settled else None
        if name is not None:
            self._stored[name] += shift.to(self._stored[name].dtype)
        elif norm is not None:
            self._stored[norm.mean] -= shift.to(self._stored[norm.mean].dtype)
        if norm is not None:
            self._settled.add(norm.mean)


def repair(
    module: nn.Module, noted: Noted, survey: Survey, inputs: Sequence[Tensor], method: Method
) -> tuple[str, ...]:
    """Repair a cut model in place in one pass on the same samples; gives the tensors that were fitted."""
    watch = Repaired(module, noted, survey, method)
    watch.over(inputs)
    return tuple(watch.fitted)


def chunks(
    product: Product, result: Tensor, picks: Tensor, missing: Tensor, features: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """What a product meets and what is missing, row by row, as many rows at once as CHUNK allows."""
    size = max(1, CHUNK // (features * missing.shape[0]))
    for start in range(0, len(picks), size):
        some = slice(start, start + size)
        yield product.inputs(result, picks[some]).float(), missing[:, some]

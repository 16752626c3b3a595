"""Repair of a cut model: every product is fitted, in the order of the pass, to what the original's gave.

One pass over the original notes, for every product, what it gives at some of its rows, as far as the cut keeps it, and
the statistics that batch norms meet. Then one pass over the cut model: when it comes to a product, its inputs are those
of the model as repaired so far, so each is fitted against the error that is really left (sequential and asymmetric
reconstruction: He et al. 2017, section 3.2; El Halabi et al., Data-Efficient Structured Pruning via Submodular
Optimization, NeurIPS 2022). Its weights are changed by ridge regression towards what they are (`least_squares`), its
bias takes the mean, and each batch norm gets the statistics of what now arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.least_squares import fit
from coppice.calibration.products import Product
from coppice.calibration.survey import BATCH_NORMS, Seen, Survey
from coppice.calibration.watch import Watch, decomposed
from coppice.records.plan import Plan
from coppice.tracing import forward, stored

#: What the noted outputs of the original may take together, bytes; rows are fewer where they would take more.
TARGET_BYTES = 512 * 1024 * 1024
#: Rows of a product that are looked at: for each feature, at least, at most.
ROWS_PER_FEATURE, FEWEST_ROWS, MOST_ROWS = 6, 4_000, 20_000
#: Elements of the inputs of a product that are gathered at once: 128 MiB in float32.
CHUNK = 32 * 1024 * 1024
#: Missing less than this part of its outputs, a product is left as it is: rounding.
NOTHING_MISSING = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one product of the original gives: shape (groups, picks, outputs), as far as the cut keeps it."""

    picks: Tensor
    outputs: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Mean and variance of what a batch norm meets in the original, of the channels that the cut keeps."""

    mean: Tensor
    variance: Tensor


@dataclass(slots=True, kw_only=True)
class Noted:
    """What the pass over the original left: by the tensor of a product, by the stored mean of a batch norm."""

    products: dict[str, Target] = field(default_factory=dict)
    norms: dict[str, Statistics] = field(default_factory=dict)


class Original(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Notes what there is to fit to."""

    def __init__(self, module: nn.Module, plan: Plan, rows: Mapping[str, int]) -> None:
        super().__init__(module)
        self.noted = Noted()
        self._kept = {
            name: _kept(tensor, plan.kept[name]) for name, tensor in stored(module).items() if name in plan.kept
        }
        self._rows = rows

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: what it gives at some rows."""
        result, name = func(*args, **kwargs), product.tensor
        if name in self._rows and name not in self.noted.products:
            picks = _picks(product.rows(result), self._rows[name])
            outputs = product.outputs(result, picks).float()
            if name in self._kept:
                stays = product.matrix(self.owners.seen_as(product.weight, self._kept[name])).any(1)
                outputs = outputs.movedim(1, 2)[stays].reshape(_regular(stays), -1, len(picks)).movedim(2, 1)
            self.noted.products[name] = Target(picks=picks, outputs=outputs.clone())
        return result

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A batch norm: what arrives there."""
        place = BATCH_NORMS.get(func._schema.name)
        if place is not None and (name := self.owners.of(args[place])) is not None:
            mean, variance = _moments(args[0])
            if name in self._kept:
                stays = self._kept[name]
                mean, variance = mean[stays], variance[stays]
            self.noted.norms[name] = Statistics(mean=mean, variance=variance)
        return func(*args, **kwargs)


class Repaired(Watch):  # type: ignore[no-untyped-call]
    """Fits every product and every batch norm of the cut model on the way; writes into its tensors."""

    def __init__(self, module: nn.Module, noted: Noted, seen: Mapping[str, Seen], *, weights: bool) -> None:
        super().__init__(module)
        self.fitted: list[str] = []
        self._noted, self._seen, self._weights = noted, seen, weights
        self._stored = stored(module)

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its weights, and the bias that goes with them."""
        result = func(*args, **kwargs)
        target = self._noted.products.get(product.tensor) if self._weights else None
        if target is None or product.tensor in self.fitted:
            return result
        missing = target.outputs - product.outputs(result, target.picks)
        if not missing.norm() > NOTHING_MISSING * target.outputs.norm():
            return result
        matrix = product.matrix(product.weight)
        rows = len(target.picks)
        centred = self._seen[product.tensor].centred
        change = fit(_chunks(product, result, target.picks, missing, matrix.shape[1]), rows, centred=centred)
        changed = (matrix.double() + change.matrix).to(matrix.dtype)
        if not (changed.isfinite().all() and change.shift.isfinite().all()):
            return result
        product.assign(changed)
        bias = self._bias(product)
        if bias is not None:
            bias += change.shift.flatten().to(bias.dtype)
        self.fitted.append(product.tensor)
        return func(*args, **kwargs)

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A batch norm: its statistics move as what arrives moved."""
        place = BATCH_NORMS.get(func._schema.name)
        noted = None if place is None else self._noted.norms.get(self.owners.of(args[place]) or "")
        if place is not None and noted is not None:
            mean, variance = _moments(args[0])
            stored_mean, stored_variance = args[place], args[place + 1]
            # Not simply what the samples give: what training saw, moved by what the cut did to the samples. With few
            # samples their own mean and variance would be further off than the stored ones.
            stored_mean += (mean - noted.mean).to(stored_mean.dtype)
            ratio = (variance / noted.variance).where(noted.variance > 0, torch.ones(())).nan_to_num(1.0, 1.0, 1.0)
            stored_variance *= ratio.to(stored_variance.dtype)
        return func(*args, **kwargs)

    def _bias(self, product: Product) -> Tensor | None:
        """The stored bias of a product, added by the call itself or by one that follows."""
        if self.owners.of(product.bias) is not None:
            return product.bias
        name = self._seen[product.tensor].bias
        return None if name is None else self._stored[name]


def note(module: nn.Module, plan: Plan, inputs: Sequence[Tensor], rows: Mapping[str, int]) -> Noted:
    """One pass over the original; `rows` says how many of each product to note."""
    watch = Original(module, plan, rows)
    with decomposed(), watch:
        forward(module, inputs)
    return watch.noted


def repair(
    module: nn.Module, noted: Noted, seen: Mapping[str, Seen], inputs: Sequence[Tensor], *, weights: bool
) -> tuple[str, ...]:
    """Repair a cut model in place in one pass, with `weights` or its batch norms alone; gives the tensors fitted."""
    watch = Repaired(module, noted, seen, weights=weights)
    with decomposed(), watch:
        forward(module, inputs)
    return tuple(watch.fitted)


def rows_of(survey: Survey, samples: int) -> dict[str, int]:
    """How many rows of each product to note, so that all fit into TARGET_BYTES; products that come once only."""
    wanted = {
        name: min(seen.rows * samples, MOST_ROWS, max(FEWEST_ROWS, ROWS_PER_FEATURE * seen.features))
        for name, seen in survey.seen.items()
        if seen.times == 1
    }
    taken = sum(rows * 4 * survey.seen[name].outputs[0] * survey.seen[name].outputs[1] for name, rows in wanted.items())
    part = min(1.0, TARGET_BYTES / max(taken, 1))
    return {name: max(1, int(rows * part)) for name, rows in wanted.items()}


def _kept(tensor: Tensor, axes: Mapping[int, Sequence[int]]) -> Tensor:
    """Which elements of a stored tensor the cut keeps."""
    kept = torch.ones(1, dtype=torch.bool)
    for axis, positions in axes.items():
        along = torch.zeros(tensor.shape[axis], dtype=torch.bool)
        along[list(positions)] = True
        kept = kept & along.reshape([-1 if a == axis else 1 for a in range(tensor.dim())])
    return kept.expand(tensor.shape).contiguous()


def _regular(stays: Tensor) -> int:
    """In how many groups outputs are left, the same number in each."""
    return int(stays.any(1).sum())


def _picks(rows: int, wanted: int) -> Tensor:
    """Numbers of rows, ascending, drawn the same way every time."""
    if wanted >= rows:
        return torch.arange(rows)
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:wanted].sort().values


def _chunks(
    product: Product, result: Tensor, picks: Tensor, missing: Tensor, features: int
) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, CHUNK // (features * missing.shape[0]))
    for start in range(0, len(picks), size):
        some = slice(start, start + size)
        yield product.inputs(result, picks[some]).float(), missing[:, some]


def _moments(arriving: Tensor) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(arriving.dim()) if axis != 1]
    found = torch.var_mean(arriving.double(), axes, correction=0)
    return found[1], found[0]

"""What a cut model is fitted to: what the original gives, at some rows of every product, as far as the cut keeps it.

One pass over the original notes it, with the statistics that batch norms meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from coppice.calibration.least_squares import most_rows
from coppice.calibration.products import Product
from coppice.calibration.survey import Seen, Survey, norm_of
from coppice.calibration.watch import Watch
from coppice.records.plan import Plan
from coppice.tracing import stored

#: What the noted outputs of the original may take together, bytes; rows are fewer where they would take more.
TARGET_BYTES = 512 * 1024 * 1024
#: Rows of a product that are looked at: for each feature, at least, at most.
ROWS_PER_FEATURE, FEWEST_ROWS, MOST_ROWS = 6, 4_000, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one product of the original gives: shape (groups, picks, outputs), as far as the cut keeps it."""

    picks: Tensor
    outputs: Tensor
    #: What is on the other side of the sum that the product goes into, where that is there before it.
    other: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Mean and variance of what a batch norm meets in the original, of the channels that the cut keeps."""

    mean: Tensor
    variance: Tensor


@dataclass(slots=True, kw_only=True)
class Noted:
    """What the pass over the original left: by the tensor of a product, by the stored mean of a batch norm.

    Of a batch norm what it meets each time: branches that share their weights come to it one after the other.
    """

    products: dict[str, Target] = field(default_factory=dict)
    norms: dict[str, list[Statistics]] = field(default_factory=dict)


class Holding(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Holds the results of some calls, by their numbers, for a call that comes later."""

    def __init__(self, module: nn.Module, calls: Set[int]) -> None:
        super().__init__(module)
        self._calls = calls
        self._results: dict[int, Tensor] = {}

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Any call but a product."""
        return self.hold(func(*args, **kwargs))

    def hold(self, result: Any) -> Any:
        """The result of the present call."""
        if self.number in self._calls:
            self._results[self.number] = result[0] if isinstance(result, tuple) else result
        return result

    def held(self, seen: Seen) -> Tensor | None:
        """What is on the other side of the sum that a product goes into."""
        return None if seen.branch is None else self._results.pop(seen.branch.call, None)


class Original(Holding):  # type: ignore[no-untyped-call]
    """Notes what there is to fit to."""

    def __init__(self, module: nn.Module, plan: Plan, survey: Survey, samples: int) -> None:
        super().__init__(module, survey.branching)
        self.noted = Noted()
        self._seen = survey.seen
        self._kept = {
            name: _kept(tensor, plan.kept[name]) for name, tensor in stored(module).items() if name in plan.kept
        }
        self._rows = _rows_of(survey, samples)

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: what it gives at some rows."""
        result, name = func(*args, **kwargs), product.tensor
        if name in self._rows and name not in self.noted.products:
            kept = self._kept.get(name)
            matrix = product.matrix(product.weight if kept is None else self.owners.seen_as(product.weight, kept))
            groups, features = matrix.shape[:2] if kept is None else _left(matrix.any(2))
            picks = _picks(product.rows(result), min(self._rows[name], most_rows(groups, features)))
            outputs = product.outputs(result, picks)
            other = beside(product, result, picks, self.held(self._seen[name]))
            if kept is not None:
                stays = matrix.any(1)
                outputs, other = _where(outputs, stays), None if other is None else _where(other, stays)
            # Copies: what was picked may be a view of all there is.
            other = None if other is None else other.float().clone()
            self.noted.products[name] = Target(picks=picks, outputs=outputs.float().clone(), other=other)
        return self.hold(result)

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A batch norm: what arrives there."""
        norm = norm_of(func._schema.name, args, self.owners)
        if norm is not None:
            mean, variance = moments(args[0])
            if norm.mean in self._kept:
                stays = self._kept[norm.mean]
                mean, variance = mean[stays], variance[stays]
            self.noted.norms.setdefault(norm.mean, []).append(Statistics(mean=mean, variance=variance))
        return super().passed(func, args, kwargs)


def note(module: nn.Module, plan: Plan, survey: Survey, inputs: Sequence[Tensor], samples: int) -> Noted:
    """One pass over the original on so many samples; raises ForwardFailed."""
    watch = Original(module, plan, survey, samples)
    watch.over(inputs)
    return watch.noted


def _rows_of(survey: Survey, samples: int) -> dict[str, int]:
    """How many rows of each product to note, so that all fit into TARGET_BYTES; products that can be fitted only."""
    wanted = {
        name: min(seen.rows * samples, MOST_ROWS, max(FEWEST_ROWS, ROWS_PER_FEATURE * seen.features))
        for name, seen in survey.seen.items()
        if survey.hindrance(name) is None
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


def _left(stays: Tensor) -> tuple[int, int]:
    """How many groups are left, and how many of each: as many in every one."""
    each = stays.sum(1)
    return int((each > 0).sum()), int(each.max())


def _where(outputs: Tensor, stays: Tensor) -> Tensor:
    """The outputs that stay, shape (groups that are left, picks, outputs of each): as many in every group."""
    left = _left(stays)
    return outputs.movedim(1, 2)[stays].reshape(*left, outputs.shape[1]).movedim(2, 1)


def beside(product: Product, result: Tensor, picks: Tensor, other: Tensor | None) -> Tensor | None:
    """Another tensor of the positions of a product's result, at its rows; None where it is laid out otherwise."""
    if other is None or other.numel() != result.numel():
        return None
    if other.shape == result.shape:
        return product.outputs(other, picks)
    if other.dim() == result.dim() and other.movedim(-1, 1).shape == result.shape:  # channels last
        return product.outputs(other.movedim(-1, 1), picks)
    if result.dim() == 2 and other.shape[-1] == result.shape[1]:  # rows in several axes
        return product.outputs(other.reshape(result.shape), picks)
    return None


def _picks(rows: int, wanted: int) -> Tensor:
    """Numbers of rows, ascending, drawn the same way every time."""
    if wanted >= rows:
        return torch.arange(rows)
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:wanted].sort().values


def moments(arriving: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, which is axis 1; float64."""
    if arriving.dim() < 3:
        variance, mean = torch.var_mean(arriving.double(), 0, correction=0)
        return mean, variance
    # Sample by sample first: positions lie together in memory, so this is many times as fast as all at once.
    variances, means = torch.var_mean(arriving.float().flatten(2), 2, correction=0)
    between, mean = torch.var_mean(means.double(), 0, correction=0)
    return mean, variances.double().mean(0) + between

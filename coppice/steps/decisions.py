"""What a model decides by value (the best boxes, those above a threshold), noted in one run and held to in another.

Where two scores are equal but for rounding, two models that compute the same may decide otherwise, and all that follows
differs. Then the second is held to what the first decided, and the numbers that it decided by are compared as outputs
are: a wrong cut shows in these. A decision is every call that makes whole numbers or truths of numbers with a fraction:
top-k, sort, arg-max, a comparison, a cast, the suppression of overlapping boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from coppice.tracing.mode import DispatchMode

#: What is decided by is compared relative to its largest number, unless all of them are smaller than this: rounding.
LEAST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    operator: str
    by: tuple[Tensor, ...]  # the numbers that it was taken by
    taken: tuple[Tensor, ...]  # what came of it: the outputs that are no numbers with a fraction


class Decisions(DispatchMode):
    """Notes every decision while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taken: list[_Decision] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        by = tuple(one for one in _tensors((args, kwargs)) if one.is_floating_point())
        if func._schema.is_mutable:
            by = _copies(by)  # as they were before the call
        result = func(*args, **(kwargs or {}))
        taken = tuple(one for one in _tensors(result) if _is_whole(one))
        return self.decided(func, by, taken, result) if by and taken else result

    def decided(self, func: Any, by: tuple[Tensor, ...], taken: tuple[Tensor, ...], result: Any) -> Any:
        """The result to go on with."""
        # Copies: later calls may be in place.
        noted = _Decision(operator=func._schema.name, by=_copies(by), taken=_copies(taken))
        self.taken.append(noted)
        return result


class Held(Decisions):  # type: ignore[no-untyped-call]
    """Holds a run to the decisions of another, wherever both decide by numbers of the same shapes."""

    def __init__(self, other: Decisions) -> None:
        super().__init__()
        self._other = other.taken
        #: The largest difference between what both decided by.
        self.worst = 0.0
        #: How many numbers both decided by.
        self.compared = 0

    def decided(self, func: Any, by: tuple[Tensor, ...], taken: tuple[Tensor, ...], result: Any) -> Any:
        """The result with what the other decided in place of what this one did."""
        place = len(self.taken)
        super().decided(func, by, taken, result)
        if place >= len(self._other):
            return result
        noted = self._other[place]
        if noted.operator != func._schema.name or [one.shape for one in noted.by] != [one.shape for one in by]:
            return result
        with _disable_current_modes():  # another may be noting calls around this one
            self.worst = max(self.worst, *map(_apart, noted.by, by))
        self.compared += sum(one.numel() for one in by)
        if func._schema.is_mutable:
            for one, other in zip(taken, noted.taken, strict=True):
                one.copy_(other)
            return result
        leaves, structure = tree_flatten(result)
        instead = iter(noted.taken)
        return tree_unflatten([next(instead).clone() if _is_whole(one) else one for one in leaves], structure)


def _apart(want: Tensor, got: Tensor) -> float:
    finite = want.isfinite()
    if not want.numel() or not want[~finite].isnan().logical_or(want[~finite] == got[~finite]).all():
        return math.inf if want.numel() else 0.0
    if not finite.any():
        return 0.0
    distance = (want[finite] - got[finite]).abs().max().item() / max(want[finite].abs().max().item(), LEAST)
    return math.inf if math.isnan(distance) else distance


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _copies(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(one.clone() for one in tensors)


def _is_whole(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and not leaf.is_floating_point() and not leaf.is_complex()

"""Two widths of one model, compared with everything held equal that must differ between them.

A first pass of both notes the calls whose value depends on how many channels there are (statistics, scales computed
from sizes) and finds those that differ. In every later pass these are replaced, in both models, by stand-ins
(`rules/standins.py`). What then differs is a wrong cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from coppice.errors import VerificationFailed
from coppice.rules.standins import Numbers, replaced, told
from coppice.tracing.composites import unfused
from coppice.tracing.mode import DispatchMode

#: An operator's name and what the call depends on.
Note = tuple[str, Numbers]


class Watch(DispatchMode):
    """Notes every call that depends on a size; those at the places of `differing` are replaced."""

    def __init__(self, differing: Mapping[int, Note]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.notes: list[Note] = []
        self._differing = differing

    def alike(self, other: Watch) -> bool:
        """Whether both have seen the same operators in the same order."""
        return [name for name, _ in self.notes] == [name for name, _ in other.notes]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        numbers = told(func, args, kwargs or {})
        if numbers is None:
            return func(*args, **(kwargs or {}))
        place = len(self.notes)
        self.notes.append((func._schema.name, numbers))
        name, original = self._differing.get(place, ("", ()))
        if name != func._schema.name:
            return func(*args, **(kwargs or {}))
        return replaced(func, args, kwargs or {}, original)


class Precisions(DispatchMode):
    """Notes the floating-point types that a model computes in, whatever its weights are."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.found |= {
            leaf.dtype for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        }
        return result


@contextmanager
def watched(differing: Mapping[int, Note] | None = None) -> Iterator[Watch]:
    """While active, calls are noted, and composite layers are seen as what they are made of."""
    with unfused(), Watch(differing or {}) as watch:
        yield watch


def differing(original: Watch, pruned: Watch) -> dict[int, Note]:
    """The places at which two widths differ, with what the original has there; raises VerificationFailed."""
    if not original.alike(pruned):
        raise VerificationFailed("The pruned model takes another path through its code than the original.")
    pairs = zip(original.notes, pruned.notes, strict=True)
    return {place: note for place, (note, other) in enumerate(pairs) if note != other}

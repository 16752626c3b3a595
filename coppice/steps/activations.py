"""activations: the memory that one forward pass needs beside the model's own tensors, at its peak.

Defined as the largest sum, over all calls that PyTorch's dispatcher sees, of the bytes of the distinct storages that
are alive when the call returns: the inputs of the model, what the call was given and returned, and everything else that
the model's code still holds of this pass. Views share their storage and count once. Whatever was there before the pass
(parameters, buffers, tables) does not count, nor does what a kernel allocates and frees within one call.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from coppice.tracing import forward
from coppice.tracing.composites import decomposed
from coppice.tracing.mode import DispatchMode


def peak(module: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """Bytes of one forward pass without gradients; raises ForwardFailed."""
    alive = _Alive()
    inputs = [entry.clone() for entry in inputs]  # one sample may be a view of a batch
    alive.note(inputs)
    # One call for a whole attention hides what is in it, and heads that were cut may not qualify for it.
    with decomposed(), alive:
        forward(module, inputs)
    return alive.most


class _Alive(DispatchMode):
    """Adds up the storages that came into being while it is active, until each is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._now = 0
        #: Storage -> what tells of its end. A storage is one Python object for as long as it lives.
        self._counted: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._there_before: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for storage in _storages((args, kwargs)):
            if id(storage) not in self._counted:  # no call returned it
                self._there_before[id(storage)] = storage
        result = func(*args, **(kwargs or {}))
        self.note(result)
        return result

    def note(self, values: Any) -> None:
        """Count the storages of tensors that are new."""
        for storage in _storages(values):
            if id(storage) not in self._counted and id(storage) not in self._there_before:
                self._count(storage)
        self.most = max(self.most, self._now)

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def freed(_: weakref.ref[torch.UntypedStorage]) -> None:
            del self._counted[key]
            self._now -= size

        self._counted[key] = weakref.ref(storage, freed)
        self._now += size


def _storages(values: Any) -> Iterable[torch.UntypedStorage]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided:
            yield leaf.untyped_storage()

"""Multiply-accumulates of one forward pass: those of convolutions, matrix products, recurrent cells and attention.

Counted at the dispatcher by torch's own formulas, whatever kernel would compute them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from coppice.tracing.composites import unfused
from coppice.tracing.mode import DispatchMode


def count_macs(module: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """The multiply-accumulates of one forward pass."""
    counted = _Counting({})
    _run(module, inputs, counted)
    return counted.total


def macs_at_weights(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Mapping[str, int]:
    """The same by the parameter that is multiplied; products of two activations are left out."""
    counted = _Counting({_place(tensor): name for name, tensor in module.named_parameters()})
    _run(module, inputs, counted)
    return counted.found


class _Counting(DispatchMode):
    """Counts them, all and at the stored tensors that are read."""

    def __init__(self, owners: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.found: Counter[str] = Counter()
        self._owners = owners

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:  # what a composite operator is made of is counted
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if formula is not None:
            # A multiplication and an addition are two of its operations.
            self._note(formula(*args, **kwargs, out_val=result) // 2, (args, kwargs))
        return result

    def _note(self, macs: int, given: Any) -> None:
        self.total += macs
        matrices = [leaf for leaf in tree_leaves(given) if _is_matrix(leaf)]
        read = {owner: leaf.numel() for leaf in matrices if (owner := self._owners.get(_place(leaf))) is not None}
        for owner, numbers in read.items():  # an LSTM's two matrices meet the same steps
            self.found[owner] += macs * numbers // sum(read.values())


def _run(module: nn.Module, inputs: Sequence[torch.Tensor], counted: _Counting) -> None:
    with torch.no_grad(), unfused(), counted:  # there are no formulas for fused kernels
        module(*inputs)


def _is_matrix(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.dim() > 1  # a bias is added, not multiplied


def _place(tensor: torch.Tensor) -> int:
    """Where a tensor's numbers are: a transposed weight is still that weight."""
    return tensor.untyped_storage().data_ptr()

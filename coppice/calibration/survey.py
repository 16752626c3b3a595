"""A first look at a model: which products it makes, how large they are, and what becomes of their results.

It holds for any number of samples, and is all that is needed to say beforehand how much memory a repair takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from coppice.calibration.products import Product
from coppice.calibration.watch import Watch, decomposed
from coppice.tracing import forward

#: Operators whose result is what they were given, in another shape or type.
_PASSING = frozenset(
    f"aten::{name}"
    for name in (
        "view",
        "_unsafe_view",
        "reshape",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "clone",
        "alias",
        "detach",
        "contiguous",
        "_to_copy",
        "cat",
        "dropout",
    )
)
_ADDING = frozenset({"aten::add", "aten::add_"})
#: Operators that normalise by the statistics of the batch or by stored ones -> where the stored mean stands; the
#: variance comes next.
BATCH_NORMS = {"aten::native_batch_norm": 3, "aten::_native_batch_norm_legit_no_training": 3}


@dataclass(slots=True, kw_only=True)
class Seen:
    """One product of a pass."""

    rows: int
    features: int
    outputs: tuple[int, int]  # groups, and outputs of each
    times: int = 1
    #: Stored tensor that is added to the result by an operator of its own.
    bias: str | None = None
    #: Whether the call adds a stored bias itself.
    biased: bool = False
    #: Whether the result goes to batch norms, and whether it goes anywhere else.
    normed: bool = False
    otherwise: bool = False

    @property
    def centred(self) -> bool:
        """Whether a shift of the outputs has a place to go: a bias, or the mean of every batch norm that follows."""
        return self.biased or self.bias is not None or (self.normed and not self.otherwise)


class Survey(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Notes the products of one pass, by the stored tensor that they multiply with."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.seen: dict[str, Seen] = {}
        self.norms = 0
        self._of: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its sizes."""
        self._used(func, args)
        result = func(*args, **kwargs)
        groups, features, outputs = product.matrix(product.weight).shape
        if product.tensor in self.seen:
            self.seen[product.tensor].times += 1
        else:
            self.seen[product.tensor] = Seen(
                rows=product.rows(result),
                features=features,
                outputs=(groups, outputs),
                biased=self.owners.of(product.bias) is not None,
            )
            self._of[result] = (product.tensor,)
        return result

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Another call: what it does with the results of products."""
        name, result = func._schema.name, func(*args, **kwargs)
        reached = self._reached(args)
        if name in BATCH_NORMS:
            self.norms += 1
        if not reached:
            return result
        if name in _ADDING and (bias := self._bias(args)) is not None:
            for one in reached:
                self.seen[one].bias = self.seen[one].bias or bias
        elif name not in _PASSING:
            self._used(func, args)
            return result
        if isinstance(result, Tensor):
            self._of[result] = reached
        return result

    def _used(self, func: Any, args: Sequence[Any]) -> None:
        for one in self._reached(args):
            if func._schema.name in BATCH_NORMS:
                self.seen[one].normed = True
            else:
                self.seen[one].otherwise = True

    def _reached(self, args: Sequence[Any]) -> tuple[str, ...]:
        """The products whose results are among the arguments."""
        found = (self._of.get(one, ()) for one in tree_leaves(args) if isinstance(one, Tensor))
        return tuple(dict.fromkeys(name for names in found for name in names))

    def _bias(self, args: Sequence[Any]) -> str | None:
        """The stored vector that is added, if that is what the addition adds."""
        names = [self.owners.of(one) for one in args[:2] if isinstance(one, Tensor) and one.dim() == 1]
        return next((name for name in names if name is not None), None)


def survey(module: nn.Module, sample: Sequence[torch.Tensor]) -> Survey:
    """One pass over `module`, in evaluation mode; raises ForwardFailed."""
    seen = Survey(module)
    with decomposed(), seen:
        forward(module, sample)
    return seen

"""A first look at a model: which products it makes, how large they are, and what becomes of their results.

It holds for any number of samples, and is all that is needed to say beforehand how much memory a repair takes.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from coppice.calibration.products import Owners, Product
from coppice.calibration.watch import Watch

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
#: Operators that normalise by stored statistics: input, scale, shift, mean, variance, ..., epsilon.
_BATCH_NORMS = frozenset({"aten::native_batch_norm", "aten::_native_batch_norm_legit_no_training"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A batch norm, by the stored tensors that it has; the scale is None where it has none."""

    scale: str | None
    mean: str
    variance: str
    epsilon: float


def norm_of(operator: str, args: Sequence[Any], owners: Owners) -> Norm | None:
    """The batch norm that a call is, if it is one by stored statistics."""
    if operator not in _BATCH_NORMS:
        return None
    scale, mean, variance = (owners.of(args[place]) for place in (1, 3, 4))
    if mean is None or variance is None:
        return None
    return Norm(scale=scale, mean=mean, variance=variance, epsilon=args[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The other side of the sum that a product's result goes into, where it is there before the product is.

    A residual block's branch can make up for what its shortcut has lost, as far as that lies in its inputs.
    """

    call: int  # number of the call that made it
    norm: Norm | None  # between the product and the sum


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
    branch: Branch | None = None

    @property
    def centred(self) -> bool:
        """Whether a shift of the outputs has a place to go: a bias, or the mean of every batch norm that follows."""
        return self.biased or self.bias is not None or (self.normed and not self.otherwise)


class Survey(Watch):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Notes the products of one pass, by the stored tensor that they multiply with."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.seen: dict[str, Seen] = {}
        #: Stored mean of every batch norm -> the products whose results it meets.
        self.feeding: dict[str, tuple[str, ...]] = {}
        #: Stored tensors that anything but a product reads, and the operator: the table of an embedding, say.
        self.read: dict[str, str] = {}
        #: Tensor -> the products whose results it is, in another shape, with a bias, or joined.
        self._of: MutableMapping[Tensor, tuple[str, ...]] = WeakTensorKeyDictionary()
        #: Tensor -> the product whose result alone it is, and the batch norm that it went through.
        self._through: MutableMapping[Tensor, tuple[str, Norm | None]] = WeakTensorKeyDictionary()
        #: Tensor -> the number of the call that made it or wrote into it last.
        self._made: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self._met: dict[str, int] = {}

    @property
    def branching(self) -> frozenset[int]:
        """The numbers of the calls that make the other sides of sums."""
        return frozenset(one.branch.call for one in self.seen.values() if one.branch is not None)

    def hindrance(self, tensor: str) -> str | None:
        """Why a product's weight can't be fitted; None where it can."""
        if self.seen[tensor].times > 1:
            return f"used {self.seen[tensor].times} times in one pass"
        if tensor in self.read:
            return f"read by {self.read[tensor]}, too"
        return None

    def met(self, product: Product, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A product: its sizes."""
        self._used(args, normed=False)
        result = func(*args, **kwargs)
        groups, features, outputs = product.matrix(product.weight).shape
        name = product.tensor
        if name in self.seen:
            self.seen[name].times += 1
        else:
            self.seen[name] = Seen(
                rows=product.rows(result),
                features=features,
                outputs=(groups, outputs),
                biased=self.owners.of(product.bias) is not None,
            )
            self._met[name] = self.number
            self._of[result], self._through[result] = (name,), (name, None)
        self._made[result] = self.number
        return result

    def passed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Another call: what it does with the results of products."""
        name, result = func._schema.name, func(*args, **kwargs)
        self._note_reading(name, args, result)
        outcome = result[0] if isinstance(result, tuple) and result else result
        if isinstance(outcome, Tensor):
            self._follow(name, args, outcome)
        else:
            self._used(args, normed=False)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._made[leaf] = self.number
        return result

    def _note_reading(self, name: str, args: Sequence[Any], result: Any) -> None:
        """The stored tensors of which the call gives more than a view."""
        shown = self.owners.of(result)
        for one in tree_leaves(args):
            owner = self.owners.of(one)
            if owner is not None and owner != shown:
                self.read.setdefault(owner, name.removeprefix("aten::"))

    def _follow(self, name: str, args: Sequence[Any], outcome: Tensor) -> None:
        norm = norm_of(name, args, self.owners)
        bias = self._bias(args) if name in _ADDING else None
        if norm is not None:
            self.feeding.setdefault(norm.mean, self._reached(args))
            self._used(args, normed=True)
        elif bias is None and name not in _PASSING:
            self._used(args, normed=False)
            if name in _ADDING:
                self._meet(args)
            return
        if norm is None and (reached := self._reached(args)):
            self._of[outcome] = reached
            for one in reached if bias is not None else ():
                self.seen[one].bias = self.seen[one].bias or bias
        first = next((one for one in args if isinstance(one, Tensor) and one in self._through), None)
        if first is not None:
            product, before = self._through[first]
            if norm is None or before is None:
                self._through[outcome] = product, norm or before

    def _meet(self, args: Sequence[Any]) -> None:
        """A sum: whether one side is a branch that began when the other was there already."""
        a, b = args[:2]
        for branch, other in ((a, b), (b, a)):
            if not (isinstance(branch, Tensor) and isinstance(other, Tensor)) or branch.shape != other.shape:
                continue
            product, norm = self._through.get(branch, ("", None))
            call = self._made.get(other)
            if product and call is not None and call < self._met[product]:
                self.seen[product].branch = self.seen[product].branch or Branch(call=call, norm=norm)

    def _used(self, args: Sequence[Any], *, normed: bool) -> None:
        for one in self._reached(args):
            if normed:
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
    seen.over(sample)
    return seen

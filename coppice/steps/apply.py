"""apply: a smaller copy of the model, cut as the plan says; and the masked copy, the oracle's other side."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from coppice.records.plan import Plan
from coppice.steps.follow import follow
from coppice.tracing import fade, put, stored

#: What a removed position is multiplied by in the masked model: nothing to the outputs, but a norm over removed
#: positions stays a number, where 0 / 0 would spread. In other precisions than float64 smaller factors would make
#: numbers that processors are slow with (denormal ones).
FAINT = {torch.float64: 2.0**-60}
FAINT_ELSE = 2.0**-24

#: The factor for the removed positions of a tensor.
Factor = Callable[[torch.Tensor], float]


def apply(module: nn.Module, plan: Plan) -> nn.Module:
    """A copy of `module` whose tensors hold only what the plan keeps; sizes that its layers state follow.

    The module given is left untouched. A tensor that is stored under several names stays one tensor.
    """
    cut = {id(tensor): _sliced(tensor, plan.kept[name]) for name, tensor in stored(module).items() if name in plan.kept}
    pruned = copied(module, cut)
    put(pruned, plan.attributes)
    changed = {id(tensor) for tensor in cut.values()}
    touched = [
        part
        for part in pruned.modules()
        if not changed.isdisjoint(map(id, (*part._parameters.values(), *part._buffers.values())))
    ]
    parametrized = [part for part in pruned.modules() if touched and is_parametrized(part)]
    for part in dict.fromkeys([*touched, *parametrized]):
        follow(part)
    if touched:
        follow(pruned)
    return pruned


def faint(tensor: torch.Tensor) -> float:
    """What a removed position of this tensor is multiplied by, unless it must be zero."""
    return FAINT.get(tensor.dtype, FAINT_ELSE) if tensor.is_floating_point() else 0.0


def nothing(_: torch.Tensor) -> float:
    """What it is multiplied by where a sign is taken of it: of the smallest number that is still 1."""
    return 0.0


def masked(module: nn.Module, plan: Plan, dtype: torch.dtype | None = None, to: Factor = faint) -> nn.Module:
    """A copy of `module` of full size in which exactly the positions that the plan removes are as good as zero."""
    dense = copied(module) if dtype is None else cast(module, dtype)
    mask(dense, plan, to)
    return dense


def mask(module: nn.Module, plan: Plan, to: Factor = faint) -> None:
    """Make exactly the positions that the plan removes as good as zero, in place; `to`: what they are multiplied by."""
    fade(module, plan.kept, to)


def cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy whose stored floating-point tensors have this precision; no copy of the old ones is made on the way."""
    tensors = [tensor for tensor in stored(module).values() if tensor.is_floating_point()]
    return copied(module, {id(one): _like(one, one.detach().to(dtype, copy=True)) for one in tensors})


def copied(module: nn.Module, instead: Mapping[int, torch.Tensor] = MappingProxyType({})) -> nn.Module:
    """A deep copy, also of a module that keeps a computed tensor (`weight` under the weight norm of old).

    `instead`: tensors that take the place of the ones with these identities, wherever the module refers to them.
    """
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    parts = [part for part in module.modules() if _is_ordinary(type(part))]  # type: ignore[arg-type]  # classes hash
    shells = {id(part): type(part).__new__(type(part)) for part in parts}
    memo: dict[int, Any] = {**shells, **computed, **instead}
    for part in reversed(parts):
        # The same as `deepcopy`, which would also copy every name, and the dozen dictionaries of hooks that are empty.
        state = part.__getstate__().items()  # type: ignore[no-untyped-call]
        state = {name: value if type(value) in _ATOMS else _deep(value, memo) for name, value in state}
        shells[id(part)].__setstate__(state)  # type: ignore[no-untyped-call]
    return _deep(module, memo)  # type: ignore[no-any-return]


#: What a copy of is itself.
_ATOMS = frozenset({bool, int, float, str, type(None)})


def _deep(value: Any, memo: dict[int, Any]) -> Any:
    if type(value) in (dict, OrderedDict, set) and not value:
        return memo.setdefault(id(value), type(value)())
    if isinstance(value, dict) and vars(type(value)).get("__getattr__") is dict.__getitem__:
        # Options whose names are attributes, as many write them: they claim to have those, too, by which Python copies.
        return memo.setdefault(id(value), type(value)(copy.deepcopy(dict(value), memo)))
    return copy.deepcopy(value, memo)


@cache
def _is_ordinary(kind: type[nn.Module]) -> bool:
    """Whether modules of this class are copied as torch's own are."""
    own = hasattr(kind, "__deepcopy__") or any("__slots__" in vars(base) for base in kind.__mro__)
    return not own and all(
        getattr(kind, name) is getattr(nn.Module, name) for name in ("__reduce__", "__reduce_ex__", "__getstate__")
    )


def _sliced(tensor: torch.Tensor, axes: dict[int, tuple[int, ...]]) -> torch.Tensor:
    data = tensor.detach()
    for axis, kept in axes.items():
        data = data.index_select(axis, torch.tensor(kept, device=data.device))
    return _like(tensor, data.contiguous() if axes else data.clone(memory_format=torch.contiguous_format))


def _like(tensor: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """New numbers for a stored tensor, as what it is: a parameter or a buffer."""
    return nn.Parameter(data, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data

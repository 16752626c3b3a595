"""What the entries of a batch are: the inputs that forward takes, by place or by name, and the labels beside them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from typing import Any

import torch
from torch import Tensor, nn

from coppice.errors import CoppiceError, DatasetInvalid
from coppice.formats.dataset import LABELS, WAYS, Takes, assigned, not_scaled
from coppice.formats.pytorch.dataset import Batches
from coppice.formats.pytorch.named_inputs import give_by_name, names_of
from coppice.formats.samples import Gathered, Inputs, Read, failure, gathered, seeded, usable
from coppice.records.request import Part
from coppice.tracing.samples import Samples

FIELD = Part.DATASET
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

#: What torch says when it is given other types than it computes with.
_TYPES = re.compile(r"should be the same$|same dtype|expected scalar type|not implemented for '\w+'")

#: What a failure of forward on the first samples becomes.
Told = Callable[[BaseException, Inputs], CoppiceError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What of one batch is of use; `names` are those of the last inputs, which forward gets by keyword."""

    samples: Samples
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_batches(
    batches: Batches, module: nn.Module, *, source: str, seed: int, told: Told, like: Inputs | None = None
) -> Read:
    """Samples for this model from batches as a loader yields them, where `like` is given of as many inputs as that.

    Raises DatasetInvalid, or what `told` makes of a failure of the model on the first ones.
    """
    with seeded(seed):
        batch = next(batches, None)
        if batch is None:
            raise DatasetInvalid(f"{source}: the DataLoader has no samples.", field=FIELD)
        first = entries(batch, module, source=source, like=like)
        if like is None:
            give_by_name(module, first.names)
        others = (entries(batch, module, source=source, like=like).samples for batch in batches)
        form = _form(first.samples, module, source, told)
        found = gathered(map(form.of, chain([first.samples], others)), source=source, seed=seed)
    if batches.numbers is not None and found.samples.rows is not None:
        rows = torch.tensor(batches.numbers)[found.samples.rows]
        found = replace(found, samples=replace(found.samples, rows=rows))
    found = replace(found, notes=(*first.notes, *form.notes, *found.notes))
    return usable(found, module, seed=seed)


def read_tensors(found: Gathered, module: nn.Module, *, seed: int, told: Told) -> Read:
    """The same from what a file of arrays holds."""
    form = _form(found.samples, module, found.source, told)
    found = replace(found, samples=form.of(found.samples), notes=(*found.notes, *form.notes))
    return usable(found, module, seed=seed)


def takes_of(names: list[str], module: nn.Module) -> tuple[list[Takes], tuple[str, ...]]:
    """What forward takes of a file with arrays of these names, and which of it by keyword."""
    required = required_inputs(module)
    taken = [name for name in inspect.signature(module.forward).parameters if _takes(name, names, required)]
    return [Takes(name=name) for name in taken or ("x",)], _by_keyword(taken, module)


def required_inputs(module: nn.Module) -> list[str]:
    """The parameters of forward that have no default."""
    parameters = inspect.signature(module.forward).parameters.values()
    return [p.name for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]


def float_dtype(module: nn.Module) -> torch.dtype:
    """The type that the model computes in."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


def entries(batch: Any, module: nn.Module, *, source: str, like: Inputs | None) -> Entries:
    """The inputs and the labels of one batch; raises DatasetInvalid."""
    required = required_inputs(module)
    beside: list[Any] = []
    if isinstance(batch, (list, tuple)) and batch and isinstance(batch[0], Mapping):
        batch, beside = batch[0], leaves(list(batch[1:]))
    if isinstance(batch, Mapping):
        names, label = _named(batch, module, like)
        inputs = [batch[name] for name in names]
        beside = leaves(batch[label]) if label is not None else beside
        by_keyword = _by_keyword([str(name) for name in names], module)
    else:
        flat, count = leaves(batch), max(len(required), 1) if like is None else len(like)
        inputs, beside, by_keyword = flat[:count], flat[count:], ()
    tensors = [torch.as_tensor(entry) for entry in inputs if is_number(entry)]
    if not tensors or len(tensors) < len(inputs) or tensors[0].dim() == 0:
        keys = f" with the keys {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else ""
        raise DatasetInvalid(
            f"{source} yields a {type(batch).__name__}{keys} in which no input of the model was found; forward takes"
            f" {', '.join(required or inspect.signature(module.forward).parameters) or 'a tensor'}.",
            field=FIELD,
        )
    labels, notes = _labels(beside, len(tensors[0]))
    return Entries(samples=Samples(inputs=tuple(tensors), labels=labels), names=by_keyword, notes=notes)


def _named(batch: Mapping[Any, Any], module: nn.Module, like: Inputs | None) -> tuple[list[Any], Any | None]:
    """The keys of the inputs, in the order in which the module takes them, and that of the labels."""
    numbers, required = [key for key in batch if is_number(batch[key])], required_inputs(module)
    if like is None:
        names = [name for name in inspect.signature(module.forward).parameters if _takes(name, numbers, required)]
    else:
        last = names_of(module)
        names = [*list(inspect.signature(module.forward).parameters)[: len(like) - len(last)], *last]
    if not names or not set(names) <= set(numbers):
        found = assigned([key for key in numbers if isinstance(key, str)], names or required)
        if found is None:
            return [], None
        if found.labels is not None:
            return list(found.inputs), found.labels
        names = list(found.inputs)
    return names, next((key for key in batch if str(key).lower() in LABELS and key not in names), None)


def _takes(name: str, given: list[Any], required: list[str]) -> bool:
    """Whether forward is given this parameter: labels, which it would answer with its loss, only if it must have."""
    return name in required or (name in given and name not in LABELS)


def _by_keyword(names: list[str], module: nn.Module) -> tuple[str, ...]:
    """Which of the last inputs have no place of their own: an input that is left out stands in between."""
    parameters = inspect.signature(module.forward).parameters
    if not set(names) <= set(parameters):
        return ()
    in_order = [p.name for p in parameters.values() if p.kind in _POSITIONAL][: len(names)]
    first = next((place for place, (a, b) in enumerate(zip(names, in_order, strict=False)) if a != b), len(in_order))
    return tuple(names[first:])


def _labels(beside: list[Any], rows: int) -> tuple[Tensor | None, tuple[str, ...]]:
    if not beside:
        return None, ()
    if len(beside) == rows > 1 and all(isinstance(entry, (int, float)) for entry in beside):
        return torch.as_tensor(beside), ()
    if len(beside) > 1:
        return None, (f"The labels are not used: which of {len(beside)} entries beside the inputs they are is open.",)
    if not is_number(beside[0]):
        return None, (f"The labels are not used: they are a {type(beside[0]).__name__} and not numbers.",)
    labels = torch.as_tensor(beside[0])
    if labels.dim() and len(labels) != rows:
        return None, (f"The labels are not used: there are {len(labels)} of them for {rows} samples.",)
    return labels, ()


def is_number(entry: Any) -> bool:
    """Whether this is a number, or an array or a tensor of them."""
    return hasattr(entry, "__array__") or (isinstance(entry, (int, float)) and not isinstance(entry, bool))


def leaves(batch: Any) -> list[Any]:
    """The entries of nested lists and tuples."""
    if isinstance(batch, (list, tuple)):
        return [leaf for entry in batch for leaf in leaves(entry)]
    return [batch]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How entries become samples: whether whole numbers become fractions, and whether a batch is one sample."""

    dtype: torch.dtype
    device: torch.device
    floats: bool
    single: bool
    source: str
    notes: tuple[str, ...] = ()

    def of(self, found: Samples) -> Samples:
        """The batch as the model takes it; raises DatasetInvalid where its inputs are of different lengths."""
        inputs = tuple(self._converted(entry) for entry in found.inputs)
        labels = found.labels
        if self.single:
            inputs = tuple(entry[None] for entry in inputs)
            labels = None if labels is None else labels[None]
        rows = {len(entry) for entry in inputs if entry.dim()}
        if len(rows) > 1:
            raise DatasetInvalid(
                f"{self.source}: the inputs of a batch have {' and '.join(map(str, sorted(rows)))} rows. The first axis"
                " of each has to count samples.",
                field=FIELD,
            )
        return replace(found, inputs=inputs, labels=None if labels is None or not labels.dim() else labels.cpu())

    def _converted(self, entry: Tensor) -> Tensor:
        fraction = entry.is_floating_point() or (self.floats and not entry.is_complex())
        return entry.to(self.device, self.dtype if fraction else entry.dtype)


def _form(first: Samples, module: nn.Module, source: str, told: Told) -> _Form:
    """The first form in which the model runs; batches are taken as such, and types as they are, where they can be."""
    device = next((one.device for one in module.parameters()), torch.device("cpu"))
    kinds = {entry.dtype for entry in first.inputs if not entry.is_floating_point()}
    one_each = first.labels is None or not first.labels.dim()
    failed: list[tuple[BaseException, Inputs]] = []
    for single, floats in product((False, True)[: 1 + one_each], (False, True)[: 1 + bool(kinds)]):
        dtype = float_dtype(module)
        form = _Form(dtype=dtype, device=device, floats=floats, single=single, source=source)
        inputs = form.of(first)[:2].inputs
        if (raised := failure(module, inputs)) is None:
            notes = tuple(not_scaled(kind, dtype) for kind in sorted(kinds, key=str)) if floats else ()
            return replace(form, notes=notes)
        failed.append((raised, inputs))
    # That types differ says nothing where other types do not run either.
    why, inputs = next((one for one in failed if not _TYPES.search(str(one[0]))), failed[0])
    error = told(why, inputs)
    raise type(error)(f"{error.message}{_way(inputs, module)}", field=error.field) from why


def _way(inputs: Inputs, module: nn.Module) -> str:
    """What to do with the samples so that the model runs on them, where that is a question of their axes."""
    found = (how for how, turned in WAYS.items() if len(inputs) == 1 and failure(module, (turned(inputs[0]),)) is None)
    return "".join(f" It runs on {how} of them." for how in islice(found, 1))

"""One small batch that the model runs on: from the user's sample when there is one, else random of `input_size`.

The model's forward is run once here, so that a wrong size or a fault of the model's code is told before any tracing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coppice.errors import CoppiceError, DatasetInvalid, ForwardFailed, InputSizeInvalid
from coppice.formats.pytorch.dataset import read_batch
from coppice.formats.pytorch.named_inputs import give_by_name
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line, user_frames, user_traceback
from coppice.formats.pytorch.user_module import UserClass
from coppice.records.inputs import Input, sizes
from coppice.records.request import Part, Request
from coppice.tracing.leftovers import no_leftovers

Inputs = tuple[torch.Tensor, ...]

#: Two samples: one can't show which axis is the batch, more only cost time.
SAMPLES = 2
_HINT = "input_size is the shape of one sample without the batch: 1,28,28 for a 28x28 grey image"

#: What torch says when the sizes of the input are the reason.
_SIZES = re.compile(
    r"shapes cannot be multiplied|channels, but got|size of tensor a|is invalid for input of size|"
    r"Kernel size can't be greater|Output size is too small|too small|Expected \d+D|expected \d+D|"
    r"Given normalized_shape|running_mean should contain|[Ee]xpected input|Dimension out of range|"
    r"size mismatch|must match the size|input must have \d+ dimensions|[Ss]izes of tensors must match"
)
#: What torch says when a model that looks numbers up (an embedding) is given fractions, and when numbers too large.
_WANTS_INTEGERS = re.compile(r"Long, Int|LongTensor|indices.*(?:Long|Int)|used as indices")
_OUT_OF_RANGE = re.compile(r"index out of range|out of bounds for dimension|index \d+ is out of bounds")
#: Entries of a batch that forward takes in training only: given, a model answers with its loss.
_TARGETS = frozenset({"label", "labels", "target", "targets"})
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def inputs_from_size(module: nn.Module, request: Request, user: UserClass) -> tuple[Inputs, tuple[str, ...]]:
    """Random samples of `input_size`, on which the model has been run, and notes; raises InputSizeInvalid."""
    if request.input_size is None:
        raise InputSizeInvalid(
            f"input_size is missing: {_HINT}. A sample DataLoader would do as well.", field="input_size"
        )
    given = request.input_size
    _check_count(module, given, user)
    give_by_name(module, [entry.name for entry in given if entry.name])
    generator = torch.Generator().manual_seed(request.seed)
    drawn = tuple(_drawn(entry, module, generator) for entry in given)
    failure = _failure(module, drawn)
    if failure is None:
        return drawn, ()
    advice = _advice(module, given)
    if _WANTS_INTEGERS.search(str(failure)) and len(given) == 1 and given[0].dtype is None:
        counted = (_drawn(given[0].model_copy(update={"dtype": "int64"}), module, generator),)
        if _failure(module, counted) is None:
            note = "The example input is whole numbers, 0 and 1: the model does not take fractions."
            return counted, (f"{note} For larger ones write {advice}.",)
    if _WANTS_INTEGERS.search(str(failure)) or _OUT_OF_RANGE.search(str(failure)):
        raise InputSizeInvalid(
            f"The model does not take the numbers that input_size={';'.join(map(str, given))} means:"
            f" {last_line(failure)}{_line(failure, user)}\nFor whole numbers write their type and how many there are:"
            f" {advice}.{_tables(module)}",
            field="input_size",
        ) from failure
    raise _told(failure, user, drawn, InputSizeInvalid, "input_size", f"{_HINT}.") from failure


def inputs_from_sample(module: nn.Module, request: Request, user: UserClass, path: Path) -> Inputs:
    """The first samples of the user's DataLoader, on which the model has been run; raises DatasetInvalid."""
    file = request.files.get(Part.DATASET, path.name)
    batch = read_batch(path, user.module, file=file, samples=SAMPLES, seed=request.seed)
    entries, names = _taken(batch, module, file)
    give_by_name(module, names)
    inputs = tuple(_as_input(entry, module)[:SAMPLES] if entry.dim() else entry for entry in entries)
    found = tuple(tuple(entry.shape[1:]) for entry in inputs)
    if request.input_size is not None and found != tuple(entry.shape for entry in request.input_size):
        raise DatasetInvalid(
            f"{file}: one sample has the shape {';'.join(map(sizes, found))}, and input_size says"
            f" {';'.join(sizes(entry.shape) for entry in request.input_size)}. Make them agree.",
            field="input_size",
        )
    failure = _failure(module, inputs)
    if failure is not None:
        hint = f"The samples come from {file}."
        raise _told(failure, user, inputs, DatasetInvalid, Part.DATASET, hint) from failure
    return inputs


def _drawn(entry: Input, module: nn.Module, generator: torch.Generator) -> torch.Tensor:
    shape = (SAMPLES, *entry.shape)
    dtype = getattr(torch, entry.dtype) if entry.dtype else _float_dtype(module)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    # Without a limit 0 and 1: every table has these rows.
    return torch.randint(0, entry.below or 2, shape, generator=generator).to(dtype)


def _check_count(module: nn.Module, given: Sequence[Input], user: UserClass) -> None:
    """Refuse a number of inputs, or names, with which forward can't be called; raises InputSizeInvalid."""
    signature = inspect.signature(module.forward)
    names = {entry.name: None for entry in given if entry.name}
    try:
        signature.bind(*(None for entry in given if not entry.name), **names)
    except TypeError as e:
        required = _required_inputs(module) or list(signature.parameters)
        example = ";".join([str(given[0]), *("10" for _ in required[1:])])
        raise InputSizeInvalid(
            f"{user.name}.forward takes {len(required)} inputs ({', '.join(required)}) and input_size gives"
            f" {len(given)}: {e}. Separate inputs by a semicolon, as in input_size={example}, or send a sample"
            f" DataLoader.",
            field="input_size",
        ) from e


def _failure(module: nn.Module, inputs: Inputs) -> BaseException | None:
    """What the model's forward raises on these inputs, if it does."""
    try:
        with torch.no_grad(), no_leftovers(module):
            module(*inputs)
    except (Exception, SystemExit) as e:
        if is_out_of_memory(e):
            raise
        return e
    return None


def _told(
    failure: BaseException, user: UserClass, inputs: Inputs, kind: type[CoppiceError], field: str, hint: str
) -> CoppiceError:
    shown = ";".join(sizes(tuple(entry.shape)) for entry in inputs)
    if _SIZES.search(str(failure)):
        samples = ";".join(sizes(tuple(entry.shape[1:])) for entry in inputs)
        return kind(
            f"The model does not run on an input of {shown} ({SAMPLES} samples of {samples}):"
            f" {last_line(failure)}{_line(failure, user)}\n{hint}",
            field=field,
        )
    return ForwardFailed(
        f"{user.name}.forward failed on an input of {shown}:\n{user_traceback(failure, user.file)}",
        field=Part.CLASS_DEF,
    )


def _line(failure: BaseException, user: UserClass) -> str:
    return "".join(f"\n  {line}" for line in user_frames(failure, user.file)[-1:])


def _embeddings(module: nn.Module) -> list[tuple[str, int]]:
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return [(path, part.num_embeddings) for path, part in module.named_modules() if isinstance(part, kinds)]


def _advice(module: nn.Module, given: Sequence[Input]) -> str:
    """What to write instead: every input that has no type yet as whole numbers, as many as the first table has rows."""
    below = next((rows for _, rows in _embeddings(module)), 100)
    if len(given) > 1 and all(entry.dtype for entry in given):
        return f"e.g. {given[0].model_copy(update={'dtype': 'int64', 'below': below})} for the input at fault"
    whole = [
        entry if entry.dtype and len(given) > 1 else entry.model_copy(update={"dtype": "int64", "below": below})
        for entry in given
    ]
    return f"input_size={';'.join(map(str, whole))}"


def _tables(module: nn.Module) -> str:
    found = _embeddings(module)
    return f" Its tables: {', '.join(f'{path} with {rows} rows' for path, rows in found)}." if found else ""


def _taken(batch: Any, module: nn.Module, file: str) -> tuple[list[torch.Tensor], tuple[str, ...]]:
    """The entries of a batch that forward takes, and the names of those that it must get by keyword; no labels."""
    if isinstance(batch, (list, tuple)) and batch and isinstance(batch[0], Mapping):
        batch = batch[0]
    required = _required_inputs(module)
    names: tuple[str, ...] = ()
    if isinstance(batch, Mapping):
        entries, names = _named(batch, module)
    else:
        entries = _flat(batch)[: max(len(required), 1)]
    tensors = [torch.as_tensor(entry) for entry in entries if _is_number(entry)]
    if not tensors or len(tensors) < len(entries) or tensors[0].dim() == 0:
        keys = f" with the keys {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else ""
        raise DatasetInvalid(
            f"{file} yields a {type(batch).__name__}{keys} in which no input of the model was found; forward takes"
            f" {', '.join(required or inspect.signature(module.forward).parameters) or 'a tensor'}.",
            field=Part.DATASET,
        )
    return tensors, names


def _named(batch: Mapping[Any, Any], module: nn.Module) -> tuple[list[Any], tuple[str, ...]]:
    parameters = inspect.signature(module.forward).parameters
    required = _required_inputs(module)
    names = [
        name
        for name in parameters
        if name in batch and _is_number(batch[name]) and (name in required or name not in _TARGETS)
    ]
    in_order = [p.name for p in parameters.values() if p.kind in _POSITIONAL][: len(names)]
    # By keyword only what has no place of its own: an input that is left out stands in between.
    first = next((place for place, (a, b) in enumerate(zip(names, in_order, strict=False)) if a != b), len(in_order))
    return [batch[name] for name in names], tuple(names[first:])


def _is_number(entry: Any) -> bool:
    return hasattr(entry, "__array__") or (isinstance(entry, (int, float)) and not isinstance(entry, bool))


def _flat(batch: Any) -> list[Any]:
    if isinstance(batch, (list, tuple)):
        return [leaf for entry in batch for leaf in _flat(entry)]
    return [batch]


def _as_input(entry: torch.Tensor, module: nn.Module) -> torch.Tensor:
    return entry.to(_float_dtype(module)) if entry.is_floating_point() else entry


def _required_inputs(module: nn.Module) -> list[str]:
    parameters = inspect.signature(module.forward).parameters.values()
    return [p.name for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]


def _float_dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())

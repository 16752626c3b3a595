"""One small batch that the model runs on: from the user's sample when there is one, else random of `input_size`.

The model's forward is run once here, so that a wrong size or a fault of the model's code is told before any tracing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from coppice.errors import CoppiceError, DatasetInvalid, ForwardFailed, InputSizeInvalid
from coppice.formats.arrays import KINDS
from coppice.formats.dataset import names_in, other_size, read_arrays
from coppice.formats.pytorch.batches import float_dtype, read_batches, read_tensors, required_inputs, takes_of
from coppice.formats.pytorch.dataset import open_batches
from coppice.formats.pytorch.named_inputs import give_by_name
from coppice.formats.pytorch.user_errors import last_line, user_frames, user_traceback
from coppice.formats.pytorch.user_module import UserClass
from coppice.formats.samples import SMALL, Inputs, Read, failure
from coppice.formats.sniff import sniff
from coppice.records.inputs import Input, sizes
from coppice.records.request import Part, Request

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


def inputs_from_size(module: nn.Module, request: Request, user: UserClass) -> Read:
    """Random inputs of `input_size`, on which the model has been run, and notes; raises InputSizeInvalid."""
    if request.input_size is None:
        raise InputSizeInvalid(
            f"input_size is missing: {_HINT}. A sample DataLoader would do as well.", field="input_size"
        )
    given = request.input_size
    _check_count(module, given, user)
    give_by_name(module, [entry.name for entry in given if entry.name])
    generator = torch.Generator().manual_seed(request.seed)
    drawn = tuple(_drawn(entry, module, generator) for entry in given)
    why = failure(module, drawn)
    if why is None:
        return Read(inputs=drawn)
    advice = _advice(module, given)
    if _WANTS_INTEGERS.search(str(why)) and len(given) == 1 and given[0].dtype is None:
        counted = (_drawn(given[0].model_copy(update={"dtype": "int64"}), module, generator),)
        if failure(module, counted) is None:
            note = "The example input is whole numbers, 0 and 1: the model does not take fractions."
            return Read(inputs=counted, notes=(f"{note} For larger ones write {advice}.",))
    if _WANTS_INTEGERS.search(str(why)) or _OUT_OF_RANGE.search(str(why)):
        raise InputSizeInvalid(
            f"The model does not take the numbers that input_size={';'.join(map(str, given))} means:"
            f" {last_line(why)}{_line(why, user)}\nFor whole numbers write their type and how many there are:"
            f" {advice}.{_tables(module)}",
            field="input_size",
        ) from why
    raise _told(why, user, drawn, InputSizeInvalid, "input_size", f"{_HINT}.") from why


def read_sample(module: nn.Module, request: Request, user: UserClass, path: Path) -> Read:
    """The samples of the user's file, of which the model has been run on the first; raises DatasetInvalid."""
    file = request.files.get(Part.DATASET, path.name)

    def told(why: BaseException, inputs: Inputs) -> CoppiceError:
        other = other_size(inputs, request.input_size, file)
        return other or _told(why, user, inputs, DatasetInvalid, Part.DATASET, f"The samples come from {file}.")

    if sniff(path) in KINDS:
        takes, names = takes_of(names_in(path, file=file), module)
        give_by_name(module, names)
        arrays = read_arrays(path, takes, file=file, seed=request.seed)
        read = read_tensors(arrays, module, seed=request.seed, told=told)
    else:
        batches = open_batches(path, user.module, file=file, seed=request.seed)
        read = read_batches(batches, module, source=file, seed=request.seed, told=told)
    if (other := other_size(read.inputs, request.input_size, file)) is not None:
        raise other
    return read


def _drawn(entry: Input, module: nn.Module, generator: torch.Generator) -> torch.Tensor:
    shape = (SMALL, *entry.shape)
    dtype = getattr(torch, entry.dtype) if entry.dtype else float_dtype(module)
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
        required = required_inputs(module) or list(signature.parameters)
        example = ";".join([str(given[0]), *("10" for _ in required[1:])])
        raise InputSizeInvalid(
            f"{user.name}.forward takes {len(required)} inputs ({', '.join(required)}) and input_size gives"
            f" {len(given)}: {e}. Separate inputs by a semicolon, as in input_size={example}, or send a sample"
            f" DataLoader.",
            field="input_size",
        ) from e


def _told(
    why: BaseException, user: UserClass, inputs: Inputs, kind: type[CoppiceError], field: str, hint: str
) -> CoppiceError:
    shown = ";".join(sizes(tuple(entry.shape)) for entry in inputs)
    if _SIZES.search(str(why)):
        samples = ";".join(sizes(tuple(entry.shape[1:])) for entry in inputs)
        return kind(
            f"The model does not run on an input of {shown} ({SMALL} samples of {samples}):"
            f" {last_line(why)}{_line(why, user)}\n{hint}",
            field=field,
        )
    return ForwardFailed(
        f"{user.name}.forward failed on an input of {shown}:\n{user_traceback(why, user.file)}",
        field=Part.CLASS_DEF,
    )


def _line(why: BaseException, user: UserClass) -> str:
    return "".join(f"\n  {line}" for line in user_frames(why, user.file)[-1:])


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

"""One small batch that the model runs on: from the user's sample when there is one, else random of `input_size`.

The model's forward is run once here, so that a wrong size or a fault of the model's code is told before any tracing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coppice.errors import CoppiceError, DatasetInvalid, ForwardFailed, InputSizeInvalid
from coppice.formats.pytorch.dataset import read_batch
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line, user_frames, user_traceback
from coppice.formats.pytorch.user_module import UserClass
from coppice.records.request import Part, Request

Inputs = tuple[torch.Tensor, ...]

#: Two samples: one can't show which axis is the batch, more only cost time.
SAMPLES = 2
_HINT = "input_size is the shape of one sample without the batch: 1,28,28 for a 28x28 grey image"

#: What torch says when the sizes of the input are the reason.
_SIZES = re.compile(
    r"shapes cannot be multiplied|channels, but got|size of tensor a|is invalid for input of size|"
    r"Kernel size can't be greater|Output size is too small|too small|Expected \d+D|expected \d+D|"
    r"Given normalized_shape|running_mean should contain|[Ee]xpected input|Dimension out of range|"
    r"size mismatch|must match the size|input must have \d+ dimensions"
)
#: What torch says when a model that looks numbers up (an embedding) is given fractions.
_WANTS_INTEGERS = re.compile(r"Long, Int|LongTensor|indices.*(?:Long|Int)|used as indices")


def inputs_from_size(module: nn.Module, request: Request, user: UserClass) -> tuple[Inputs, tuple[str, ...]]:
    """Random samples of `input_size`, on which the model has been run, and notes; raises InputSizeInvalid."""
    if request.input_size is None:
        raise InputSizeInvalid(
            f"input_size is missing: {_HINT}. A sample DataLoader would do as well.", field="input_size"
        )
    required = _required_inputs(module)
    if len(required) > 1:
        raise InputSizeInvalid(
            f"{user.name}.forward takes {len(required)} inputs ({', '.join(required)}) and input_size is the shape of"
            f" one. Send a sample DataLoader.",
            field=Part.DATASET,
        )
    shape = (SAMPLES, *request.input_size)
    generator = torch.Generator().manual_seed(request.seed)
    drawn = (torch.randn(shape, generator=generator).to(_float_dtype(module)),)
    failure = _failure(module, drawn)
    if failure is None:
        return drawn, ()
    if _WANTS_INTEGERS.search(str(failure)):
        counted = (torch.randint(0, 2, shape, generator=generator),)
        if _failure(module, counted) is None:
            return counted, ("The example input is whole numbers: the model does not take fractions.",)
    raise _told(failure, user, shape, InputSizeInvalid, "input_size", f"{_HINT}.") from failure


def inputs_from_sample(module: nn.Module, request: Request, user: UserClass, path: Path) -> Inputs:
    """The first samples of the user's DataLoader, on which the model has been run; raises DatasetInvalid."""
    file = request.files.get(Part.DATASET, path.name)
    batch = read_batch(path, user.module, file=file, samples=SAMPLES, seed=request.seed)
    inputs = tuple(_as_input(entry, module)[:SAMPLES] for entry in _taken(batch, module, file))
    shape = tuple(inputs[0].shape)
    if request.input_size is not None and shape[1:] != request.input_size:
        raise DatasetInvalid(
            f"{file}: one sample has the shape {_sizes(shape[1:])}, and input_size says {_sizes(request.input_size)}."
            f" Make them agree.",
            field="input_size",
        )
    failure = _failure(module, inputs)
    if failure is not None:
        raise _told(failure, user, shape, DatasetInvalid, Part.DATASET, f"The samples come from {file}.") from failure
    return inputs


def _failure(module: nn.Module, inputs: Inputs) -> BaseException | None:
    """What the model's forward raises on these inputs, if it does."""
    try:
        with torch.no_grad():
            module(*inputs)
    except (Exception, SystemExit) as e:
        if is_out_of_memory(e):
            raise
        return e
    return None


def _told(
    failure: BaseException, user: UserClass, shape: tuple[int, ...], sizes: type[CoppiceError], field: str, hint: str
) -> CoppiceError:
    if _SIZES.search(str(failure)):
        where = "".join(f"\n  {line}" for line in user_frames(failure, user.file)[-1:])
        return sizes(
            f"The model does not run on an input of {_sizes(shape)} ({_sizes(shape[:1])} samples of"
            f" {_sizes(shape[1:])}): {last_line(failure)}{where}\n{hint}",
            field=field,
        )
    return ForwardFailed(
        f"{user.name}.forward failed on an input of {_sizes(shape)}:\n{user_traceback(failure, user.file)}",
        field=Part.CLASS_DEF,
    )


def _taken(batch: Any, module: nn.Module, file: str) -> list[torch.Tensor]:
    """The leading entries of a batch, as many as forward takes; the rest are labels."""
    required = _required_inputs(module)
    if isinstance(batch, Mapping):
        entries = [batch[name] for name in required if name in batch]
    else:
        entries = _flat(batch)[: max(len(required), 1)]
    tensors = [torch.as_tensor(entry) for entry in entries if hasattr(entry, "__array__")]
    if not tensors or any(tensor.dim() == 0 for tensor in tensors):
        raise DatasetInvalid(
            f"{file} yields a {type(batch).__name__} in which no input of the model was found; forward takes"
            f" {', '.join(required) or 'a tensor'}.",
            field=Part.DATASET,
        )
    return tensors


def _flat(batch: Any) -> list[Any]:
    if isinstance(batch, (list, tuple)):
        return [leaf for entry in batch for leaf in _flat(entry)]
    return [batch]


def _as_input(entry: torch.Tensor, module: nn.Module) -> torch.Tensor:
    return entry.to(_float_dtype(module)) if entry.is_floating_point() else entry


def _required_inputs(module: nn.Module) -> list[str]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty]


def _float_dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _sizes(shape: tuple[int, ...]) -> str:
    return ",".join(str(size) for size in shape)

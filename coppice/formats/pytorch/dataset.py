"""The sample DataLoader that a user may send: opened, rebuilt without workers, and read for one small batch.

A pickle runs code when it is opened, so this is only ever called inside a sandboxed child, or on the user's own
machine. What the samples mean to the model is decided in `example_inputs`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from coppice.errors import CoppiceError, DatasetInvalid
from coppice.formats.pytorch.old_objects import bring_up_to_date
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line
from coppice.formats.pytorch.weights import refuse_archive_tricks
from coppice.formats.sniff import Kind, sniff
from coppice.records.request import Part

FIELD = Part.DATASET
_READABLE = (Kind.TORCH, Kind.TORCH_LEGACY)
_MISSING_CLASS = re.compile(r"attribute '([^']+)' on <module '([^']+)'")
_OPTIONAL = "The sample is optional: leave it out, or send one in memory, such as TensorDataset(images, labels)."


def read_batch(path: Path, user: ModuleType, *, file: str, samples: int, seed: int) -> Any:
    """The first batch, of `samples` samples where the loader lets itself be asked for that; raises DatasetInvalid."""
    kind = sniff(path)
    if kind not in _READABLE:
        raise DatasetInvalid(_not_a_loader(kind, file), field=FIELD)
    refuse_archive_tricks(path, file=file, field=FIELD)
    found = _open(path, user, file)
    if isinstance(found, Dataset) and not isinstance(found, DataLoader):
        found = DataLoader(found)
    if not isinstance(found, DataLoader):
        raise DatasetInvalid(
            f"{file} holds a {type(found).__name__}, not a DataLoader. Save torch.save(train_loader, FILE).",
            field=FIELD,
        )
    return _first_batch(found, file, samples, seed)


def _open(path: Path, user: ModuleType, file: str) -> Any:
    with path.open("rb") as stream:
        # Names of modules stand in a pickle as plain text, near its start.
        if b"torchvision" in stream.read(1 << 20):
            prepare_torchvision()
    try:
        with _as_main(user):
            return torch.load(path, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as e:
        if is_out_of_memory(e):
            raise
        raise DatasetInvalid(_why_closed(e, file), field=FIELD) from e


@contextmanager
def _as_main(user: ModuleType) -> Iterator[None]:
    """Lend the names of the user's module to `__main__`: there the pickle looks for what their script defined."""
    main = sys.modules["__main__"]
    lent = {name: value for name, value in vars(user).items() if not name.startswith("__") and not hasattr(main, name)}
    vars(main).update(lent)
    try:
        yield
    finally:
        for name in lent:
            vars(main).pop(name, None)


def _first_batch(loader: DataLoader[Any], file: str, samples: int, seed: int) -> Any:
    try:
        bring_up_to_date(loader)
        for batch in _rebuilt(loader, samples, seed):
            return batch
    except CoppiceError:
        raise
    except (Exception, SystemExit) as e:
        if is_out_of_memory(e):
            raise
        raise DatasetInvalid(_why_unread(e, file), field=FIELD) from e
    raise DatasetInvalid(f"{file}: the DataLoader has no samples.", field=FIELD)


def _rebuilt(loader: DataLoader[Any], samples: int, seed: int) -> DataLoader[Any]:
    """A loader of today's class over the same data: one pickled by another torch lacks attributes.

    Without workers: the sandbox has no processes for them.
    """
    dataset, collate = loader.dataset, getattr(loader, "collate_fn", None)
    sampler, batch_sampler = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
    if getattr(loader, "batch_size", None) is None:  # batches are made by a sampler of the user's, or by the data
        if batch_sampler is None:
            return DataLoader(dataset, batch_size=None, collate_fn=collate)
        return DataLoader(dataset, batch_sampler=batch_sampler, collate_fn=collate)
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, batch_size=samples, collate_fn=collate)
    if isinstance(sampler, RandomSampler):
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(dataset, batch_size=samples, shuffle=True, collate_fn=collate, generator=generator)
    return DataLoader(dataset, batch_size=samples, sampler=sampler, collate_fn=collate)


def _not_a_loader(kind: Kind, file: str) -> str:
    if kind in (Kind.DAMAGED_ZIP, Kind.ZIP):
        return (
            f"{file} was not finished by torch.save: it holds no data.pkl. A lambda in a transform, or a loader whose"
            f" workers run, can't be saved. {_OPTIONAL}"
        )
    return f"{file} is {kind}, not a DataLoader. Save torch.save(train_loader, FILE). {_OPTIONAL}"


def _why_closed(error: BaseException, file: str) -> str:
    missing = _MISSING_CLASS.search(str(error)) if isinstance(error, AttributeError) else None
    if missing is not None:
        name, module = missing.groups()
        # Started by `python -m`, the main module shows itself by the name in its spec.
        spec = sys.modules["__main__"].__spec__
        module = "__main__" if spec is not None and spec.name == module else module
        return (
            f"{file} needs {name} of the module {module}, which did not come with it: a pickle holds only the name of a"
            f" class. Define {name} in the class file. {_OPTIONAL}"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"{file} needs the module {error.name}, which is not here. {_OPTIONAL}"
    return f"{file} does not open: {last_line(error)}. {_OPTIONAL}"


def _why_unread(error: BaseException, file: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{file} holds the paths of its data and not the data: {error.filename} is not here. {_OPTIONAL}"
    if "PIL" in str(error) and isinstance(error, TypeError):
        return f"{file} yields PIL images. Put transforms.ToTensor() into the dataset's transform and save it again."
    return f"{file}: reading the first samples failed: {last_line(error)}. {_OPTIONAL}"

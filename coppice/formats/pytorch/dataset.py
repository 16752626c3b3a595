"""The DataLoader that a user may send, or whatever else of PyTorch's yields samples: opened, and read batch by batch.

A pickle runs code when it is opened, so this is only ever called inside a sandboxed child, or on the user's own
machine. What the entries of a batch are to the model is decided in `batches`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, default_collate

from coppice.errors import CoppiceError, DatasetInvalid
from coppice.formats.pytorch.old_objects import bring_up_to_date
from coppice.formats.pytorch.torchvision_import import prepare_torchvision
from coppice.formats.pytorch.user_errors import is_out_of_memory, last_line
from coppice.formats.pytorch.weights import refuse_archive_tricks
from coppice.formats.samples import MOST, OPTIONAL, drawn
from coppice.formats.sniff import Kind, sniff
from coppice.records.request import Part

FIELD = Part.DATASET
_READABLE = (Kind.TORCH, Kind.TORCH_LEGACY)
_MISSING_CLASS = re.compile(r"attribute '([^']+)' on <module '([^']+)'")
_GIVE = "Give a DataLoader, as by torch.save(train_loader, FILE), or x, (x, y) or a mapping of arrays."
#: Samples of one batch at most: a loader of whole epochs would read far more than is used.
AT_ONCE = 64


class Batches(Iterator[Any]):
    """Batches one by one; raises DatasetInvalid, also while they are read."""

    def __init__(self, samples: Iterable[Any], source: str, seed: int) -> None:
        #: The numbers of the samples in their data set, as they come; None until they do, or if that can't be told.
        self.numbers: Sequence[int] | None = None
        self._each = self._read(samples, source, seed)

    def __next__(self) -> Any:
        return next(self._each)

    def _read(self, samples: Iterable[Any], source: str, seed: int) -> Iterator[Any]:
        try:
            if isinstance(samples, DataLoader):
                bring_up_to_date(samples)
                samples, self.numbers = _rebuilt(samples, seed)
            yield from samples
        except CoppiceError:
            raise
        except (Exception, SystemExit) as e:
            if is_out_of_memory(e):
                raise
            raise DatasetInvalid(_why_unread(e, source), field=FIELD) from e


def open_batches(path: Path, user: ModuleType, *, file: str, seed: int) -> Batches:
    """The batches of a pickled loader, or of tensors; raises DatasetInvalid, also while they are read."""
    kind = sniff(path)
    if kind not in _READABLE:
        raise DatasetInvalid(_not_a_loader(kind, file), field=FIELD)
    refuse_archive_tricks(path, file=file, field=FIELD)
    return batches_of(_open(path, user, file), source=file, seed=seed)


def batches_of(samples: Any, *, source: str, seed: int) -> Batches:
    """The batches of a loader, a data set or any iterable of batches; an array, a tuple or a mapping is one batch."""
    if isinstance(samples, Dataset) and not isinstance(samples, DataLoader):
        samples = DataLoader(samples)
    if isinstance(samples, Mapping | tuple) or hasattr(samples, "__array__"):
        return Batches([samples], source, seed)
    if isinstance(samples, str | bytes) or not isinstance(samples, Iterable):
        raise DatasetInvalid(f"{source} holds a {type(samples).__name__}, not a DataLoader. {_GIVE}", field=FIELD)
    if isinstance(samples, list) and len({tuple(getattr(entry, "shape", ()))[1:] for entry in samples[:2]}) > 1:
        raise DatasetInvalid(
            f"{source} holds a list of arrays of several shapes; a list is one of batches. {_GIVE}", field=FIELD
        )
    return Batches(samples, source, seed)


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


def _rebuilt(loader: DataLoader[Any], seed: int) -> tuple[DataLoader[Any], Sequence[int] | None]:
    """A loader of today's class over the same data, and what it takes of them: one of another torch lacks attributes.

    Without workers: the sandbox has no processes for them, and they would read ahead of what is used.
    """
    dataset, collate = loader.dataset, getattr(loader, "collate_fn", None)
    sampler, batch_sampler = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
    if getattr(loader, "batch_size", None) is None:  # batches are made by a sampler of the user's, or by the data
        if batch_sampler is None:
            return DataLoader(dataset, batch_size=None, collate_fn=collate), None
        return DataLoader(dataset, batch_sampler=batch_sampler, collate_fn=collate), None
    size = min(loader.batch_size or 1, AT_ONCE)
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, batch_size=size, collate_fn=collate), None
    numbers = None
    if isinstance(sampler, RandomSampler):
        count = len(sampler.data_source)
        numbers = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:MOST].tolist()
    elif type(sampler) is SequentialSampler:
        numbers = drawn(len(sampler), MOST, seed)  # data in order may be sorted by class
    made = DataLoader(dataset, batch_size=size, sampler=numbers or sampler, collate_fn=collate)
    return made, numbers if collate in (None, default_collate) else None  # another may leave samples out


def _not_a_loader(kind: Kind, file: str) -> str:
    if file.lower().endswith((".npz", ".npy", ".safetensors")):
        return f"{file} is {kind}. Save it again, such as by numpy.savez(FILE, x=x, y=y)."
    if kind in (Kind.DAMAGED_ZIP, Kind.ZIP):
        return (
            f"{file} was not finished by torch.save: it holds no data.pkl. A lambda in a transform, or a loader whose"
            f" workers run, can't be saved. {OPTIONAL}"
        )
    return f"{file} is {kind}, not a DataLoader. Save torch.save(train_loader, FILE). {OPTIONAL}"


def _why_closed(error: BaseException, file: str) -> str:
    missing = _MISSING_CLASS.search(str(error)) if isinstance(error, AttributeError) else None
    if missing is not None:
        name, module = missing.groups()
        # Started by `python -m`, the main module shows itself by the name in its spec.
        spec = sys.modules["__main__"].__spec__
        module = "__main__" if spec is not None and spec.name == module else module
        return (
            f"{file} needs {name} of the module {module}, which did not come with it: a pickle holds only the name of a"
            f" class. Define {name} in the class file. {OPTIONAL}"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"{file} needs the module {error.name}, which is not here. {OPTIONAL}"
    return f"{file} does not open: {last_line(error)}. {OPTIONAL}"


def _why_unread(error: BaseException, file: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{file} holds the paths of its data and not the data: {error.filename} is not here. {OPTIONAL}"
    if "PIL" in str(error) and isinstance(error, TypeError):
        return f"{file} yields PIL images. Put transforms.ToTensor() into the dataset's transform and save it again."
    return f"{file}: reading the samples failed: {last_line(error)}. {OPTIONAL}"

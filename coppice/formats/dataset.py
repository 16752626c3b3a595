"""A file of arrays as samples: which array is which input of the model, and whether it is what the model takes.

Arrays are known by the names of the model's inputs, by the names that people give them (`x_train` and `y_train`,
`images` and `labels`), or by their order, as `numpy.savez(file, x, y)` keeps it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from coppice.errors import DatasetInvalid
from coppice.formats.arrays import KINDS, StoredArray, check, open_arrays
from coppice.formats.samples import Gathered, drawn, room
from coppice.formats.sniff import sniff
from coppice.records.inputs import Input, sizes
from coppice.records.request import Part, Request
from coppice.tracing.samples import Samples

FIELD = Part.DATASET
#: What people call the one input, in the order of preference -> the labels that belong to it alone.
_INPUTS: Mapping[str, tuple[str, ...]] = {
    "x": (),
    "x_train": ("y_train", "labels_train"),
    "train_x": ("train_y",),
    "train_images": ("train_labels",),
    "x_val": ("y_val",),
    "val_images": ("val_labels",),
    "x_test": ("y_test",),
    "test_x": ("test_y",),
    "test_images": ("test_labels",),
    **dict.fromkeys(("images", "image", "inputs", "input", "samples", "features", "data", "pixel_values"), ()),
}
#: What people call labels, whatever the inputs are called.
LABELS = ("y", "label", "labels", "target", "targets")
#: In a file of ours, which is made of the samples that are read: their numbers in what the user gave.
ROWS = "__rows__"
#: `numpy.savez` calls what is given without a name by its place.
_PLACE = re.compile(r"arr_(\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """One input of the model, as far as it is known before it runs: the shape of one sample, None for a free size."""

    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """Names of a file or of a batch: those of the inputs, in the model's order, and that of the labels."""

    inputs: tuple[str, ...]
    labels: str | None = None


def read_arrays(path: Path, takes: Sequence[Takes], *, file: str, seed: int) -> Gathered:
    """Samples of a file of arrays, drawn by the seed where there are more than are read; raises a BadUpload."""
    kind = sniff(path)
    if kind not in KINDS:
        raise DatasetInvalid(f"{file} is {kind}. Save arrays: numpy.savez(FILE, x=x, y=y).", field=FIELD)
    with open_arrays(path, file=file) as arrays:
        names = assigned([name for name in arrays if name != ROWS], [one.name for one in takes])
        if names is None:
            raise _unknown(arrays, takes, file)
        columns = [check(arrays[name], file) for name in names.inputs]
        rows = _rows(columns, file)
        for column, one in zip(columns, takes, strict=True):
            _refuse_shape(column, one, file)
        labels, notes = _labels(arrays.get(names.labels or ""), rows)
        size = sum(column.row_bytes for column in (*columns, *labels) if column.shape)
        numbers = drawn(rows, room(size), seed)
        inputs, told = zip(
            *(converted(column.rows(numbers), one, file) for column, one in zip(columns, takes, strict=True)),
            strict=True,
        )
        told_rows = torch.tensor(numbers)
        if ROWS in arrays and arrays[ROWS].shape == (rows,):
            told_rows = check(arrays[ROWS], file).rows(numbers).long()
        found = Samples(inputs=inputs, labels=labels[0].rows(numbers) if labels else None, rows=told_rows)
    return Gathered(samples=found, source=file, notes=(*notes, *(note for note in told if note)))


#: Reads the samples that were sent, for a model that takes such inputs.
Sent = Callable[[Sequence[Takes]], Gathered]


def sent_arrays(request: Request, files: Mapping[Part, Path]) -> Sent | None:
    """The reader of the request's file of arrays, if there is one."""
    if (path := files.get(FIELD)) is None:
        return None
    return lambda takes: read_arrays(path, takes, file=request.files.get(FIELD, path.name), seed=request.seed)


def names_in(path: Path, *, file: str) -> list[str]:
    """The names of the arrays in a file of one of the kinds that are read."""
    with open_arrays(path, file=file) as arrays:
        return list(arrays)


def assigned(names: Collection[str], inputs: Sequence[str]) -> Assigned | None:
    """Which of the names are the model's inputs and its labels; None where that can't be told."""
    written = {name.lower(): name for name in names}
    if inputs and set(inputs) <= set(names):
        free = [name for name in LABELS if written.get(name) not in (None, *inputs)]
        pair = [one for name in inputs for one in _INPUTS.get(name.lower(), ()) if one in written]
        return Assigned(inputs=tuple(inputs), labels=next((written[name] for name in (*pair, *free)), None))
    places = {int(match[1]): name for name in names if (match := _PLACE.fullmatch(name))}
    if len(places) == len(names) and sorted(places) == list(range(len(places))) and 0 <= len(names) - len(inputs) <= 1:
        return Assigned(inputs=tuple(places[place] for place in range(len(inputs))), labels=places.get(len(inputs)))
    if len(inputs) != 1:
        return None
    others = [name for name in names if name.lower() not in LABELS]
    known = [alias for alias in _INPUTS if alias in written]
    if not known and len(others) != 1:
        return None
    chosen = known[0] if known else others[0].lower()
    label = next((one for one in (*_INPUTS.get(chosen, ()), *LABELS) if one in written), None)
    return Assigned(inputs=(written[chosen],), labels=None if label is None else written[label])


def converted(entry: Tensor, takes: Takes, file: str) -> tuple[Tensor, str | None]:
    """The samples in the type that the model computes with, never scaled, and a note where that is another kind."""
    dtype = takes.dtype
    if dtype is None or entry.dtype is dtype:
        return entry, None
    found = entry.to(dtype)
    if dtype.is_floating_point:
        note = None if entry.is_floating_point() else not_scaled(entry.dtype, dtype)
        return found, note
    if not bool((found == entry).all()):
        raise DatasetInvalid(
            f"{file}: the model takes whole numbers ({_plain(dtype)}) as {takes.name}, and not all of the samples"
            f" are: they are {_plain(entry.dtype)} from {entry.min().item():g} to {entry.max().item():g}.",
            field=FIELD,
        )
    return found, None


def not_scaled(found: torch.dtype, taken: torch.dtype) -> str:
    """What is said of whole numbers that were given to a model of fractions."""
    return (
        f"The samples are {_plain(found)} and the model computes in {_plain(taken)}: they were converted, not scaled."
        " If it was trained on scaled ones, send them so."
    )


def other_size(inputs: Sequence[Tensor], asked: Sequence[Input] | None, file: str) -> DatasetInvalid | None:
    """What is wrong where `input_size` is given, too, and says another shape than the samples have."""
    found = tuple(tuple(entry.shape[1:]) for entry in inputs)
    if asked is None or found == tuple(entry.shape for entry in asked):
        return None
    return DatasetInvalid(
        f"{file}: one sample has the shape {';'.join(map(sizes, found))}, and input_size says"
        f" {';'.join(sizes(entry.shape) for entry in asked)}. Make them agree.",
        field="input_size",
    )


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _rows(columns: Sequence[StoredArray], file: str) -> int:
    found = {column.name: column.shape[0] for column in columns if column.shape}
    if len(set(found.values())) != 1:
        shown = ", ".join(f"{name}: {rows}" for name, rows in found.items()) or "single numbers only"
        raise DatasetInvalid(
            f"{file}: the inputs have different numbers of samples ({shown}). The first axis counts samples.",
            field=FIELD,
        )
    return next(iter(found.values()))


def _labels(array: StoredArray | None, rows: int) -> tuple[list[StoredArray], list[str]]:
    """The array of labels, or none and why."""
    if array is None:
        return [], []
    if array.objection is not None:
        return [], [f"The labels are not used: the array {array.name} {array.objection}."]
    found = array.shape[0] if array.shape else 1
    if found != rows:
        return [], [f"The labels are not used: there are {found} of them for {rows} samples."]
    return [array], []


#: What people write to bring samples into another shape, and what it does.
WAYS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "x[..., None]": lambda x: x[..., None],
    "x[:, None]": lambda x: x[:, None],
    "numpy.moveaxis(x, 1, -1)": lambda x: x.movedim(1, -1) if x.dim() > 2 else x,
    "numpy.moveaxis(x, -1, 1)": lambda x: x.movedim(-1, 1) if x.dim() > 2 else x,
    "x.reshape(len(x), -1)": lambda x: x.flatten(1) if x.dim() > 1 else x,
}


def _refuse_shape(array: StoredArray, takes: Takes, file: str) -> None:
    """Refuse samples that the model declares in another shape, and say what would make them fit."""
    found = array.shape[1:]
    if takes.shape is None or _fits(found, takes.shape):
        return
    wanted = ",".join("?" if size is None else str(size) for size in takes.shape) or "()"
    one = torch.empty((1, *found), device="meta")
    way = next((how for how, turned in WAYS.items() if _fits(turned(one).shape[1:], takes.shape)), None)
    if way is None and None not in takes.shape and math.prod(found) == math.prod(size or 1 for size in takes.shape):
        way = f"x.reshape(-1, {wanted})"
    raise DatasetInvalid(
        f"{file}: a sample in {array.name} has the shape {sizes(found)}, and the model takes {wanted} as {takes.name}."
        f" Send {way or 'them as the model is fed'}, scaled as in training.",
        field=FIELD,
    )


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(want in (None, size) for size, want in zip(found, wanted, strict=True))


def _unknown(arrays: Mapping[str, StoredArray], takes: Sequence[Takes], file: str) -> DatasetInvalid:
    held = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:8]) or "nothing"
    inputs = ", ".join(one.name for one in takes)
    example = ", ".join(f"{one.name}={one.name}" for one in takes) if len(takes) > 1 else "x=x"
    return DatasetInvalid(
        f"{file} holds {held}; which of these the model's inputs ({inputs}) are can't be told. Save"
        f" numpy.savez(FILE, {example}, y=y).",
        field=FIELD,
    )

"""Files of plain arrays: `.npz`, `.npy` and safetensors. Measured before anything is read, and read a row at a time.

Nothing here runs code of the file: arrays of Python objects, which are pickles, stay closed. Which array is what to a
model is not said here but in `dataset`.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from coppice.errors import BadUpload, DatasetInvalid, TruncatedFile
from coppice.formats.pytorch.user_errors import last_line
from coppice.formats.sniff import Kind, sniff
from coppice.formats.zip_guard import open_zip
from coppice.records.request import Part

FIELD = Part.DATASET

#: The header of an array is a line of text; a field of a hundred names makes it longer than numpy's own limit.
MAX_HEADER_BYTES = 16 * 1024
#: An array whose rows do not lie one after another is read whole.
MAX_WHOLE_BYTES = 256 * 1024 * 1024
#: Numbers without a sign that torch can hardly compute with -> a type that holds them.
_WIDER = {"u2": np.int32, "u4": np.int64, "u8": np.int64}
#: safetensors' names of the types that are read -> bytes of a number.
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
#: What a header that is none makes numpy and Python raise; the last two of a text nested thousands deep.
_NO_HEADER = (ValueError, KeyError, SyntaxError, TypeError, OverflowError, TokenError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """One array of a file: what is known before it is read, and how rows of it are."""

    name: str
    shape: tuple[int, ...]
    #: In memory, as the engine holds them.
    row_bytes: int
    #: Gives the rows of these numbers, ascending; of an array without axes its one number.
    rows: Callable[[Sequence[int]], Tensor]
    #: Why it can't be read, if it can't.
    objection: str | None = None


Arrays = Mapping[str, StoredArray]


@contextmanager
def open_arrays(path: Path, *, file: str) -> Iterator[Arrays]:
    """The arrays of a file of one of `KINDS`, by name, to be read while it is open; raises a BadUpload."""
    try:
        with KINDS[sniff(path)](path, file) as arrays:
            yield arrays
    except BadUpload as e:
        e.field = e.field or FIELD
        raise


@contextmanager
def _npz(path: Path, file: str) -> Iterator[Arrays]:
    with open_zip(path, name=file) as archive:
        names = [name for name in archive.names if name.endswith(".npy")]
        yield {
            name.removesuffix(".npy"): _array(
                name.removesuffix(".npy"), file, partial(archive.stream, name), archive.size(name)
            )
            for name in names
        }


@contextmanager
def _npy(path: Path, file: str) -> Iterator[Arrays]:
    """One array, which has no name but that of its file."""
    name = Path(file).stem
    yield {name: _array(name, file, lambda: path.open("rb"), path.stat().st_size)}


@contextmanager
def _safetensors(path: Path, file: str) -> Iterator[Arrays]:
    try:
        with safe_open(path, framework="pt") as opened:
            yield {name: _slices(name, opened, opened.get_slice(name)) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as e:
        raise TruncatedFile(f"{file} is a damaged safetensors file: {last_line(e)}", field=FIELD) from e


#: How each kind of file is opened.
KINDS: Mapping[Kind, Callable[[Path, str], AbstractContextManager[Arrays]]] = {
    Kind.NPZ: _npz,
    Kind.NPY: _npy,
    Kind.SAFETENSORS: _safetensors,
}


def _slices(name: str, opened: Any, part: Any) -> StoredArray:
    shape, kind = tuple(part.get_shape()), part.get_dtype()

    def rows(numbers: Sequence[int]) -> Tensor:
        if not shape:
            return opened.get_tensor(name)  # type: ignore[no-any-return]
        return torch.cat([part[number : number + 1] for number in numbers])

    return StoredArray(
        name=name,
        shape=shape,
        row_bytes=_row_bytes(shape, _SIZES.get(kind, 8)),
        rows=rows,
        objection=_empty(shape) or (None if kind in _SIZES else f"is of the type {kind}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    shape: tuple[int, ...]
    by_column: bool
    kind: np.dtype[Any]
    #: Where the numbers begin.
    start: int


def _array(name: str, file: str, opened: Callable[[], AbstractContextManager[IO[bytes]]], size: int) -> StoredArray:
    with opened() as stream:
        header = _header(name, file, stream)
    objection = _objection(header)
    stated = math.prod(header.shape) * header.kind.itemsize
    if objection is None and stated != size - header.start:
        raise TruncatedFile(
            f"{file}: the array {name} of the shape {header.shape} has {stated:,} bytes by its header, and there are"
            f" {size - header.start:,}. Save it again.",
            field=FIELD,
        )

    def rows(numbers: Sequence[int]) -> Tensor:
        with opened() as stream:
            read = _whole if header.by_column or not header.shape else _by_row
            found = read(stream, header, numbers)
        plain = found.astype(_WIDER.get(header.kind.str[1:], header.kind.newbyteorder("=")), copy=False)
        return torch.as_tensor(plain)

    return StoredArray(
        name=name,
        shape=header.shape,
        row_bytes=_row_bytes(header.shape, header.kind.itemsize),
        rows=rows,
        objection=objection,
    )


def _header(name: str, file: str, stream: IO[bytes]) -> _Header:
    start = io.BytesIO(stream.read(MAX_HEADER_BYTES))
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Python 2 wrote it
            shape, by_column, kind = readers[npy.read_magic(start)](start)
    except _NO_HEADER as e:
        raise TruncatedFile(
            f"{file}: {name} has no header of an array that can be read ({last_line(e)[:200]}). Save it again.",
            field=FIELD,
        ) from e
    return _Header(shape=shape, by_column=by_column and len(shape) > 1, kind=kind, start=start.tell())


def _objection(header: _Header) -> str | None:
    kind = header.kind
    if kind.hasobject:
        return "holds Python objects, which only a pickle gives back: save plain numbers"
    if kind.kind not in "fiub" or kind.itemsize > 8:
        return f"is of the type {kind}: save plain numbers"
    whole = math.prod(header.shape) * kind.itemsize
    if header.by_column and whole > MAX_WHOLE_BYTES:
        return "lies in memory column by column, and is too large to be turned here: save numpy.ascontiguousarray of it"
    return _empty(header.shape)


def _empty(shape: tuple[int, ...]) -> str | None:
    # Also what would be an endless number of rows of nothing.
    return None if all(size > 0 for size in shape) else f"has the shape {shape}, which is of no numbers"


def _by_row(stream: IO[bytes], header: _Header, numbers: Sequence[int]) -> NDArray[Any]:
    shape, kind = header.shape[1:], header.kind
    size = math.prod(shape) * kind.itemsize
    found = np.empty((len(numbers), *shape), kind)
    for place, number in enumerate(numbers):
        stream.seek(header.start + number * size)
        found[place] = np.frombuffer(_exactly(stream, size), kind).reshape(shape)
    return found


def _whole(stream: IO[bytes], header: _Header, numbers: Sequence[int]) -> NDArray[Any]:
    stream.seek(header.start)
    content = _exactly(stream, math.prod(header.shape) * header.kind.itemsize)
    found = np.frombuffer(content, header.kind).reshape(header.shape, order="F")
    return found[list(numbers)] if header.shape else found.copy()


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise TruncatedFile("An array ends before its last number. Save it again.", field=FIELD)
    return content


def _row_bytes(shape: tuple[int, ...], size: int) -> int:
    # Whole numbers of one byte become fractions of four where a model computes with those.
    return math.prod(shape[1:]) * max(size, 4)


def check(array: StoredArray, file: str) -> StoredArray:
    """The array, if it can be read; raises DatasetInvalid."""
    if array.objection is not None:
        raise DatasetInvalid(f"{file}: the array {array.name} {array.objection}.", field=FIELD)
    return array

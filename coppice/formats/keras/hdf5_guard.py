"""HDF5 files from strangers: everything but plain groups and plain arrays is refused before anything is read.

HDF5 can point outside itself (external storage, external links, virtual datasets), load code (filter plugins), claim
sizes that it doesn't hold, and loop. None of it occurs in a Keras file. Bugs of the C library itself are the sandbox's
business, not this module's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from coppice.errors import EmptyFile, HostileFile, TruncatedFile, UnknownFormat

# Filters are C plugins that HDF5 looks for on disk; the built-in ones need none. Read by libhdf5, once.
os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: gzip, shuffle, fletcher32: the filters that are part of every HDF5 library.
_FILTERS = frozenset({1, 2, 3})
_NUMERIC = frozenset("fiub")
#: Deeper than any nesting of models and layer names with slashes that Keras wrote.
_MAX_DEPTH = 64
#: A NASNetLarge with its optimizer state has some 5,000 objects.
_MAX_OBJECTS = 200_000
#: Arrays below this are never a bomb, whatever they compress to.
_SMALL_BYTES = 1024 * 1024
#: gzip at its best gives 1,032 to 1.
_MAX_RATIO = 1100
#: A chunk of an honest array is about as large as the array at most, also where it may still grow.
_MAX_ROOM = 16
#: Names of layers and weights: the longest list seen is 1,124.
_MAX_ATTRIBUTE_ELEMENTS = 1_000_000


@contextmanager
def open_guarded(path: Path, name: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, all of its objects checked. `name` is what the user called it."""
    check_signature(path, name)
    try:
        file = h5py.File(path, "r")
    except OSError as e:
        raise TruncatedFile(f"{name}: is HDF5 but damaged or cut off: {_first_line(e)}. Upload it again.") from e
    with file:
        with damage_reported(name):
            _Walk(name).group(file, depth=0)
        yield file


@contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Call it damage, whatever h5py raises on it: a flipped bit may turn up as any of these."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as e:
        raise TruncatedFile(f"{name}: is HDF5 but damaged inside: {_first_line(e)}. Upload it again.") from e


def check_signature(path: Path, name: str) -> None:
    """Refuse what is empty or not HDF5, saying how it begins."""
    with path.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise EmptyFile(f"{name}: the file is empty.")
    if not head.startswith(SIGNATURE):
        raise UnknownFormat(f"{name}: not an HDF5 file. First bytes: {head.hex(' ')}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


class _Walk:
    """One pass over all objects of a file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: set[int] = set()
        self.objects = 0

    def refuse(self, what: str, where: str) -> HostileFile:
        return HostileFile(f"{self.name}: {where} {what}, which no Keras file does. Save the model again from Keras.")

    def group(self, group: h5py.Group, *, depth: int) -> None:
        """Check a group's links, then what they lead to."""
        where = str(group.name).removesuffix("/")  # of the root nothing is left, and every way begins with a stroke
        if depth > _MAX_DEPTH:
            raise self.refuse("is nested too deeply", where[:100])
        if not self._first_visit(group):
            raise self.refuse("is reached twice, as in a circle", where[:100])
        self._attributes(group, where)
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise self.refuse("is a link that leads elsewhere", f"{where}/{key}")
            found = group[key]
            if isinstance(found, h5py.Group):
                self.group(found, depth=depth + 1)
            elif isinstance(found, h5py.Dataset):
                self.dataset(found)
            else:
                raise self.refuse("is neither a group nor an array", f"{where}/{key}")

    def dataset(self, dataset: h5py.Dataset) -> None:
        """Check that an array is plain numbers, stored here, as many as it says."""
        where = str(dataset.name)
        if not self._first_visit(dataset):
            return
        self._attributes(dataset, where)
        properties = dataset.id.get_create_plist()
        if properties.get_external_count():
            raise self.refuse("is stored in another file", where)
        if dataset.is_virtual:
            raise self.refuse("is a virtual dataset", where)
        # libhdf5 takes memory for a whole chunk, of however small an array; its own limit is 4 GiB.
        chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
        if chunk > max(_SMALL_BYTES, dataset.nbytes * _MAX_ROOM):
            raise self.refuse(f"has {dataset.nbytes:,} bytes in chunks of {chunk:,}", where)
        filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
        if not filters <= _FILTERS:
            raise self.refuse(f"uses the filters {sorted(filters - _FILTERS)}", where)
        if dataset.dtype.kind == "S" and dataset.dtype.itemsize <= _SMALL_BYTES:
            pass  # Keras 3 keeps vocabularies and the like as fixed strings; nothing here reads them
        elif dataset.dtype.kind not in _NUMERIC:
            raise self.refuse(f"holds {dataset.dtype} instead of numbers", where)
        declared, stored = dataset.nbytes, dataset.id.get_storage_size()
        if declared > _SMALL_BYTES and declared > stored * _MAX_RATIO:
            raise self.refuse(f"claims {declared:,} bytes and holds {stored:,}", where)

    def _first_visit(self, found: h5py.Group | h5py.Dataset) -> bool:
        """Hard links can make circles, so objects are known by their address."""
        self.objects += 1
        if self.objects > _MAX_OBJECTS:
            raise self.refuse(f"has more than {_MAX_OBJECTS:,} objects", "the file")
        address = h5py.h5o.get_info(found.id).addr
        if address in self.seen:
            return False
        self.seen.add(address)
        return True

    def _attributes(self, found: h5py.Group | h5py.Dataset, where: str) -> None:
        for key in found.attrs:
            attribute = found.attrs.get_id(key)
            elements = 1
            for size in attribute.shape or ():
                elements *= size
            if elements > _MAX_ATTRIBUTE_ELEMENTS:
                raise self.refuse(f"has an attribute of {elements:,} elements", where)

"""A copy of an HDF5 file with some arrays and texts exchanged: everything else is kept as it was written.

Always a new file: deleting inside one does not give its space back. Types of attributes are copied to the letter,
because old readers are particular: h5py 2 can't decode what h5py 3 writes for a `str`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What differs in the copy, by absolute address in the file."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    root_texts: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()


def copy_edited(source: h5py.File, out: Path, edits: Edits) -> None:
    """Write the copy; objects keep their attributes, links their order."""
    with h5py.File(out, "w", libver=("earliest", "v110"), track_order=_tracks_order(source)) as copy:
        _copy_attributes(source, copy, without=frozenset(edits.root_texts))
        for name, text in edits.root_texts.items():
            # bytes make a variable-length ASCII text, which every h5py reads; str would not be.
            copy.attrs.create(name, text.encode("ascii"))
        _copy_group(source, copy, "", edits)


def _copy_group(source: h5py.Group, copy: h5py.Group, address: str, edits: Edits) -> None:
    for key in source:
        here, found = f"{address}/{key}", source[key]
        if here in edits.dropped:
            continue
        if isinstance(found, h5py.Group):
            inner = copy.create_group(key, track_order=_tracks_order(found))
            _copy_attributes(found, inner)
            _copy_group(found, inner, here, edits)
        elif here in edits.arrays:
            _write_array(found, copy, key, edits.arrays[here])
        else:
            source.copy(found, copy, name=key)


def _write_array(original: h5py.Dataset, copy: h5py.Group, key: str, value: NDArray[Any]) -> None:
    """The array under the same name, type and filters; chunks fit its new shape."""
    filters: dict[str, Any] = {}
    if original.chunks is not None and value.ndim:
        filters = {
            "chunks": True,
            "compression": original.compression,
            "compression_opts": original.compression_opts,
            "shuffle": original.shuffle,
            "fletcher32": original.fletcher32,
        }
    written = copy.create_dataset(key, data=value, dtype=original.dtype, **filters)
    _copy_attributes(original, written)


def _copy_attributes(
    source: h5py.Group | h5py.Dataset, copy: h5py.Group | h5py.Dataset, without: frozenset[str] = frozenset()
) -> None:
    for name in source.attrs:
        if name in without:
            continue
        old = source.attrs.get_id(name)
        new = h5py.h5a.create(copy.id, name.encode(), old.get_type(), old.get_space())
        if old.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            continue
        value = np.zeros(old.shape, dtype=old.dtype)
        in_memory = h5py.h5t.py_create(old.dtype)
        old.read(value, mtype=in_memory)
        new.write(value, mtype=in_memory)


def _tracks_order(group: h5py.Group) -> bool:
    flags = group.id.get_create_plist().get_link_creation_order()
    return bool(flags & h5py.h5p.CRT_ORDER_TRACKED)

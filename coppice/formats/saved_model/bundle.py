"""The tensors of a SavedModel: `variables/variables.index` and its data shards.

The index is a table (`saved_model_table`) of one record per tensor: type, shape, place, checksum. Tensors that nobody
asks for are never decoded; they are copied as bytes, whatever their type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coppice.errors import TruncatedFile, UnsupportedLayer
from coppice.formats.saved_model.protos import Message, new, read, write
from coppice.formats.saved_model.table import masked_crc32c, read_table, write_table

HEADER = b""  # the key of the record that describes the bundle itself
INDEX = "variables/variables.index"

#: types.proto number -> the array's type in a file, which is little-endian.
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2", 22: "<u4", 23: "<u8"}


def shard_name(number: int, count: int) -> str:
    """The file of one shard, as BundleReader looks for it."""
    return f"variables/variables.data-{number:05d}-of-{count:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The tensors of a checkpoint by key."""

    name: str
    header: Message
    entries: Mapping[str, Message]
    shards: tuple[bytes, ...]

    def raw(self, key: str) -> bytes:
        """The bytes of one tensor, as stored, their extent verified."""
        entry = self.entries[key]
        shard = self.shards[entry.shard_id] if 0 <= entry.shard_id < len(self.shards) else b""
        content = shard[entry.offset : entry.offset + entry.size]
        if min(entry.offset, entry.size) < 0 or len(content) != entry.size:
            raise TruncatedFile(f"{self.name}: the data of {key} ends too early. Save and zip the model again.")
        return content

    def array(self, key: str) -> NDArray[Any]:
        """One tensor, its checksum verified."""
        if key not in self.entries:
            raise TruncatedFile(f"{self.name}: the variables have no {key}. Save and zip the model again.")
        entry = self.entries[key]
        if entry.slices:
            raise UnsupportedLayer(f"{self.name}: {key} is stored in slices (a partitioned variable).", field=key)
        if entry.dtype not in DTYPES:
            raise UnsupportedLayer(f"{self.name}: {key} has TensorFlow's type {entry.dtype}, not a number.", field=key)
        content = self.raw(key)
        if masked_crc32c(content) != entry.crc32c:
            raise TruncatedFile(f"{self.name}: the data of {key} fails its checksum. Save and zip the model again.")
        shape = tuple(dimension.size for dimension in entry.shape.dim)
        try:
            return np.frombuffer(content, DTYPES[entry.dtype]).reshape(shape)
        except ValueError as e:
            raise TruncatedFile(f"{self.name}: {key} has {len(content)} bytes, shape {shape}.") from e

    def text(self, key: str) -> bytes:
        """One scalar of TensorFlow's string type: its length as a varint, a checksum of that, its bytes."""
        content = self.raw(key)
        lengths = next((at for at, byte in enumerate(content) if byte < 0x80), 0) + 1
        return content[lengths + 4 :]

    def rewrite(self, changed: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
        """The files of a bundle with other arrays at some keys; every tensor stays in its shard."""
        records = {HEADER: write(self.header)}
        shards = [bytearray() for _ in self.shards]
        for key, old in self.entries.items():
            entry = new("BundleEntryProto")
            entry.CopyFrom(old)
            content = self.raw(key)
            if key in changed:
                content = np.ascontiguousarray(changed[key], DTYPES[old.dtype]).tobytes()
                entry.crc32c = masked_crc32c(content)
                set_shape(entry.shape, changed[key].shape)
            shard = shards[entry.shard_id]
            entry.offset, entry.size = len(shard), len(content)
            records[key.encode()] = write(entry)
            shard += content
        files = {shard_name(number, len(shards)): bytes(shard) for number, shard in enumerate(shards)}
        return {INDEX: write_table(records), **files}


def read_bundle(name: str, member: Callable[[str], bytes]) -> Bundle:
    """The bundle whose files `member` gives by their names below the SavedModel's folder."""
    records = read_table(member(INDEX), f"{name}: {INDEX}")
    header = read("BundleHeaderProto", records.pop(HEADER, b""), f"{name}: {INDEX}")
    if header.endianness != 0:
        raise UnsupportedLayer(f"{name}: the variables are big-endian; save the model on a little-endian machine.")
    shards = tuple(member(shard_name(number, header.num_shards)) for number in range(header.num_shards))
    entries = {key.decode(): read("BundleEntryProto", value, name) for key, value in records.items()}
    return Bundle(name=name, header=header, entries=entries, shards=shards)


def set_shape(shape: Message, sizes: tuple[int, ...]) -> None:
    """Put these sizes into a TensorShapeProto of the same rank."""
    for dimension, size in zip(shape.dim, sizes, strict=True):
        dimension.size = size

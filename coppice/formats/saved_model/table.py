"""The key-value table that indexes a tensor bundle: LevelDB's format as TensorFlow writes it, uncompressed.

Format: leveldb/doc/table_format.md. Read and written whole: an index holds one short record per variable.

    >>> read_table(write_table({b"": b"header", b"kernel": b"entry"}), "variables.index")
    {b'': b'header', b'kernel': b'entry'}
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

import google_crc32c

from coppice.errors import TruncatedFile

MAGIC = 0xDB4775248B80FB57
FOOTER = 48  # two block handles of at most 20 bytes each, padded, and the magic number
TRAILER = 5  # after each block: how it is compressed, and the checksum of both
UNCOMPRESSED = 0
MAX_SHIFT = 63  # of the last seven bits of a 64-bit number


def masked_crc32c(content: bytes) -> int:
    """LevelDB's checksum: masked, because a CRC of data that holds CRCs is weak (leveldb/util/crc32c.h)."""
    crc = int(google_crc32c.value(content))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_table(content: bytes, shown: str) -> dict[bytes, bytes]:
    """Every record of a table, in order; raises TruncatedFile where a checksum or an offset is wrong."""
    if len(content) < FOOTER or int.from_bytes(content[-8:], "little") != MAGIC:
        raise TruncatedFile(f"{shown} is damaged: it does not end as a table does. Save and zip the model again.")
    try:
        at = _varint(content, len(content) - FOOTER)[1]  # past the handle of the meta index: offset and size
        at = _varint(content, at)[1]
        handles = _records(_block(content, at, shown)[0])
        return {key: value for _, handle in handles for key, value in _records(_block(handle, 0, shown, content)[0])}
    except (IndexError, struct.error) as e:
        raise TruncatedFile(f"{shown} is damaged: a record reaches past its block. Save the model again.") from e


def write_table(records: Mapping[bytes, bytes]) -> bytes:
    """A table of these records, sorted by key as a table must be, in one block of data."""
    table = bytearray()
    handles = []
    block = _make_block(dict(sorted(records.items())))
    last = max(records, default=b"")
    for made in (block, _make_block({})):  # data, and the meta index, which TensorFlow leaves empty
        handles.append(_to_varint(len(table)) + _to_varint(len(made)))
        table += _sealed(made)
    index = _make_block({last: handles[0]})
    handles.append(_to_varint(len(table)) + _to_varint(len(index)))
    table += _sealed(index)
    footer = (handles[1] + handles[2]).ljust(FOOTER - 8, b"\0") + MAGIC.to_bytes(8, "little")
    return bytes(table + footer)


def _block(handle: bytes, at: int, shown: str, content: bytes | None = None) -> tuple[bytes, int]:
    """The block that the handle at this position points to, its checksum verified, and where the handle ends."""
    content = handle if content is None else content
    offset, at = _varint(handle, at)
    size, at = _varint(handle, at)
    block, trailer = content[offset : offset + size], content[offset + size : offset + size + TRAILER]
    if len(trailer) < TRAILER or int.from_bytes(trailer[1:], "little") != masked_crc32c(block + trailer[:1]):
        raise TruncatedFile(f"{shown} is damaged: a block fails its checksum. Save and zip the model again.")
    if trailer[0] != UNCOMPRESSED:
        raise TruncatedFile(f"{shown} is compressed (type {trailer[0]}), which TensorFlow never does to an index.")
    return block, at


def _records(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _make_block(records: Mapping[bytes, bytes]) -> bytes:
    """A block in which every record spells its key out: prefixes save bytes only where keys are many."""
    block, restarts = bytearray(), []
    for key, value in records.items():
        restarts.append(len(block))
        block += b"\0" + _to_varint(len(key)) + _to_varint(len(value)) + key + value
    starts = restarts or [0]  # a block has at least one restart point, even an empty one
    return bytes(block) + struct.pack(f"<{len(starts)}I", *starts) + struct.pack("<I", len(starts))


def _sealed(block: bytes) -> bytes:
    kind = bytes([UNCOMPRESSED])
    return block + kind + struct.pack("<I", masked_crc32c(block + kind))


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = content[at]
        at += 1
        if shift > MAX_SHIFT:
            raise IndexError("a number of more than 64 bits")
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _to_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])

"""The index of a tensor bundle, against LevelDB's own numbers and TensorFlow's own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice.errors import TruncatedFile
from coppice.formats.saved_model.bundle import HEADER
from coppice.formats.saved_model.table import masked_crc32c, read_table, write_table
from tests.saved_model.folders import files_of

Records = dict[bytes, bytes]


def test_the_checksum_is_leveldbs() -> None:
    # leveldb/util/crc32c_test.cc: the CRC of 32 zero bytes is 0x8a9136aa; masked by the rule of crc32c.h.
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=300), max_size=50))
def test_what_was_written_is_read(records: Records) -> None:
    assert read_table(write_table(records), "test") == dict(sorted(records.items()))


def test_a_table_of_tensorflow_is_read_in_order_with_its_shared_prefixes(archive: Path) -> None:
    records = read_table(files_of(archive)["variables/variables.index"], "test")
    assert list(records) == sorted(records)
    assert HEADER in records
    assert b"layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE" in records


@given(st.binary(max_size=200))
def test_bytes_that_are_no_table_are_refused(content: bytes) -> None:
    with pytest.raises(TruncatedFile):
        read_table(content, "test")

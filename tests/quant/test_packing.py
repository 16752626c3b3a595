"""Codes in bytes, held to arithmetic on whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coppice.quant import GRIDS
from coppice.quant.packing import pack, packed_size, unpack

BITS = tuple(GRIDS)


@st.composite
def _codes(draw: st.DrawFn) -> tuple[int, list[int]]:
    bits = draw(st.sampled_from(BITS))
    grid = GRIDS[bits]
    numbers = range(-grid.largest, grid.largest + 1, grid.step)
    return bits, draw(st.lists(st.sampled_from(numbers), max_size=40))


@given(_codes())
def test_what_is_packed_is_one_little_endian_number(given: tuple[int, list[int]]) -> None:
    bits, codes = given
    grid = GRIDS[bits]
    number = sum((code + grid.largest) // grid.step << bits * place for place, code in enumerate(codes))
    size = -(-len(codes) * bits // 8)
    packed = pack(np.array(codes, np.int8), bits)
    assert packed.tobytes() == number.to_bytes(size, "little")
    assert packed_size(len(codes), bits) == size
    assert unpack(packed, bits, len(codes)).tolist() == codes


@pytest.mark.parametrize(
    ("bits", "codes", "packed"),
    [
        (4, [[-7, 0], [7, 1]], [0x70, 0x8E]),
        (2, [-3, -1, 1, 3, 3], [0b11100100, 0b11]),
        (1, [1, -1, -1, 1, 1, 1, 1, -1, 1], [0b01111001, 1]),
        (8, [-127, 127, 0], [0, 254, 127]),
    ],
)
def test_bytes_by_hand(bits: int, codes: list[int], packed: list[int]) -> None:
    assert pack(np.array(codes, np.int8), bits).tolist() == packed


@pytest.mark.parametrize("bits", BITS)
def test_the_grid_numbers_its_codes_as_packing_does(bits: int) -> None:
    grid = GRIDS[bits]
    codes = torch.arange(-grid.largest, grid.largest + 1, grid.step, dtype=torch.int8)
    assert len(codes) <= 2**bits
    assert grid.numbered(codes).tolist() == list(range(len(codes)))
    assert torch.equal(grid.counted(grid.numbered(codes)), codes)
    eights = unpack(pack(codes.numpy(), bits), bits, len(codes))
    assert eights.tolist() == codes.tolist()

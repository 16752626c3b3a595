"""Whole numbers of few bits, packed into bytes and back, without a gap.

What is packed are the codes of a grid, counted from 0 (`Grid.numbered`). Bits run as in a little-endian number: with
`b` bits, element `i` of the flattened codes lies in byte `i*b // 8`, its lowest bit at bit `i*b % 8` of that byte. What
is left of the last byte is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coppice.quant.grids import GRIDS


def pack(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Codes of the grid of so many bits, flattened in C order, as bytes."""
    grid, each = GRIDS[bits], 8 // bits
    numbers = ((codes.astype(np.int16).ravel() + grid.largest) // grid.step).astype(np.uint8)
    padded = np.zeros(packed_size(numbers.size, bits) * each, np.uint8)
    padded[: numbers.size] = numbers
    shifted = padded.reshape(-1, each) << (np.arange(each, dtype=np.uint8) * np.uint8(bits))
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(shifted, axis=1)
    return packed


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int8]:
    """The first `count` codes; the inverse of `pack`, flat."""
    grid, each = GRIDS[bits], 8 // bits
    shifted = packed.reshape(-1, 1) >> (np.arange(each, dtype=np.uint8) * np.uint8(bits))
    numbers = (shifted & np.uint8(2**bits - 1)).ravel()[:count]
    return (numbers.astype(np.int16) * grid.step - grid.largest).astype(np.int8)


def packed_size(count: int, bits: int) -> int:
    """How many bytes so many codes take."""
    return -(-count * bits // 8)

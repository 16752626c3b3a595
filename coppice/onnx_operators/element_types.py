"""ONNX's numbers for element types, as torch types.

Half precision is computed in single: the file keeps its halves, and a processor without them would be slow.
"""

from __future__ import annotations

import torch

FLOAT, DOUBLE = 1, 11
HALVES = frozenset({10, 16})  # float16, bfloat16

TYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float32,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    16: torch.float32,
}

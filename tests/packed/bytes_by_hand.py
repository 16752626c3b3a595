"""Safetensors read by hand: the length of a JSON header, that header, and bytes; packed ones bit after bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.packed.by_hand import NUMBERS

_TYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I8": "i1", "U8": "u1"}


class ByHand:
    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        self.header: dict[str, Any] = json.loads(content[8 : 8 + size])
        self.about: dict[str, Any] = json.loads(self.header.pop("__metadata__")["coppice"])
        self.content = content[8 + size :]

    def bytes_of(self, name: str) -> bytes:
        start, end = self.header[name]["data_offsets"]
        return self.content[start:end]

    def array(self, name: str) -> NDArray[Any]:
        found = np.frombuffer(self.bytes_of(name), _TYPES[self.header[name]["dtype"]])
        return found.reshape(self.header[name]["shape"])

    def value(self, name: str) -> NDArray[Any]:
        """Of a tensor on a grid: the `i`-th number is in the bits from `i * bits` on, counted from the first byte's."""
        how = self.about["packed"][name]
        bits, count = how["bits"], int(np.prod(how["shape"]))
        if bits == 8:
            codes = self.array(name).astype(int)
        else:
            whole = int.from_bytes(self.bytes_of(name), "little")
            text = f"{whole:0{8 * len(self.bytes_of(name))}b}"[::-1]
            numbers = [int(text[start : start + bits][::-1], 2) for start in range(0, count * bits, bits)]
            codes = NUMBERS[bits][numbers].reshape(how["shape"])
        value: NDArray[Any] = codes.astype(np.float32) * self.array(how["scale"])
        return value

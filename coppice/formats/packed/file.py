"""Safetensors files whose tensors are packed: whole numbers of few bits, and halves of what is computed in more.

Every tensor stands under the name that it has in its model. The header's metadata hold one text, `coppice`: JSON that
says how those tensors are read that are not there as they are:

    {"version": 1, "packed": {"fc.weight": {
        "bits": 4, "first": -7, "step": 1, "shape": [10, 64], "dtype": "F32", "scale": "fc.weight.scale"}}}

    value = (number * step + first) * scale

Numbers of 8 bits are stored as int8. Those of fewer lie in bytes, in C order, the first in the lowest bits; `pack` says
it exactly. Of a float that is kept in fewer bits than its model has it in there is nothing but the model's `dtype`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from coppice.errors import PrecisionImpossible
from coppice.quant import GRIDS, Coded
from coppice.quant.packing import pack
from coppice.records.quantization import Precision

#: What the loaders read, by the names that the format has for types.
TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {kind: name for name, kind in TYPES.items()}
_HALVES = {Precision.FLOAT16: torch.float16, Precision.BFLOAT16: torch.bfloat16}
_BYTE = 8
VERSION = 1
#: What the header calls our text.
MARK = "coppice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file holds: tensors as their model has them, and how some of them are kept instead."""

    tensors: Mapping[str, Tensor]
    coded: Mapping[str, Coded] = field(default_factory=dict)
    floats: Mapping[str, Precision] = field(default_factory=dict)
    #: What else the loader has to know.
    about: Mapping[str, Any] = field(default_factory=dict)


def write(content: Content, path: Path) -> None:
    """Write the file; raises PrecisionImpossible for a tensor that it can't hold."""
    _check(content.tensors)
    tensors, packed = dict(content.tensors), dict[str, dict[str, Any]]()
    for name, tensor in content.tensors.items():
        if (coded := content.coded.get(name)) is not None:
            scale = _free(f"{name}.scale", tensors)
            tensors[name], tensors[scale] = _numbers(coded), coded.scale
            how = {"shape": list(tensor.shape), "dtype": _NAMES[tensor.dtype], "scale": scale}
            packed[name] = {**_grid(coded), **how}
        elif (precision := content.floats.get(name)) is not None:
            tensors[name] = tensor.to(_HALVES[precision])
            packed[name] = {"dtype": _NAMES[tensor.dtype]}
    about = json.dumps({"version": VERSION, "packed": packed, **content.about})
    # A copy of each: tensors that share memory are refused. One text: several come in an order of chance.
    save_file({name: one.detach().clone().contiguous() for name, one in tensors.items()}, path, {MARK: about})


def bytes_by_type(path: Path) -> dict[str, int]:
    """Data type -> bytes of its tensors in the file, by its header; packed whole numbers by their bits."""
    counted: Counter[str] = Counter()
    for kind, size in _entries(path):
        counted[kind] += size
    return dict(sorted(counted.items()))


def header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file."""
    with path.open("rb") as file:
        found: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return found


def type_name(kind: torch.dtype) -> str:
    """The format's name of a type that it holds."""
    return _NAMES[kind]


def _entries(path: Path) -> Iterator[tuple[str, int]]:
    entries = header(path)
    packed = json.loads(entries.pop("__metadata__")[MARK])["packed"]
    for name, entry in entries.items():
        start, end = entry["data_offsets"]
        bits = packed.get(name, {}).get("bits")
        yield str(TYPES[entry["dtype"]]).removeprefix("torch.") if bits is None else f"int{bits}", end - start


def _check(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise PrecisionImpossible(
                f"format=safetensors holds no {kind}, which {name} is. Make it float32 in the model, or ask for "
                "format=onnx.",
                field="format",
            )


def _numbers(coded: Coded) -> Tensor:
    if coded.bits == _BYTE:
        return coded.codes
    return torch.from_numpy(pack(coded.codes.numpy(), coded.bits))


def _grid(coded: Coded) -> dict[str, int]:
    """How the numbers in the file count: those of 8 bits are the codes themselves."""
    grid = GRIDS[coded.bits]
    first, step = (0, 1) if coded.bits == _BYTE else (-grid.largest, grid.step)
    return {"bits": coded.bits, "first": first, "step": step}


def _free(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "_"
    return name

"""PyTorch files that are broken, not what they should be, or built to harm whoever opens them."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.hostile.case import Case, End, asked, pytorch, saved, source, weights
from tests.serving import Files

pytestmark = pytest.mark.slow

#: Where a bomb that went off on the host would leave its mark.
MARK = Path(f"/tmp/coppice-bomb-{os.getpid()}")


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARK}; cat /etc/passwd",)


class Planes(Dataset[Any]):
    """A class of the user's script, which the service can't have."""

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(1, 8, 8), 0

    def __len__(self) -> int:
        return 4


def loader_of_a_script() -> bytes:
    content = saved(DataLoader(Planes()))
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = {name: old.read(name).replace(__name__.encode(), b"__main__") for name in old.namelist()}
    return zipped(members, zipfile.ZIP_STORED)


def zipped(members: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def compressed_weights() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved({"conv.weight": torch.zeros(64 * 1024 * 1024)}))) as plain:
        return zipped({name: plain.read(name) for name in plain.namelist()}, zipfile.ZIP_DEFLATED)


def two_of_a_name() -> bytes:
    """Which of the two is read is up to the reader."""
    buffer = io.BytesIO(weights())
    with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(next(n for n in archive.namelist() if n.endswith("data.pkl")), pickle.dumps(Bomb()))
    return buffer.getvalue()


def overlapping() -> bytes:
    """A hundred members that are all the same bytes."""
    with zipfile.ZipFile(io.BytesIO(weights())) as old:
        members = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        largest = max(archive.filelist, key=lambda info: info.file_size)
        for number in range(100):
            info = copy(largest)
            info.filename = info.orig_filename = f"archive/data/{number + 100}"
            archive.filelist.append(info)
    return buffer.getvalue()


def safetensors(header: Any, content: bytes = bytes(8), *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


#: What each lies about, and what is said of it.
FORGED: dict[str, tuple[bytes, str]] = {
    "a shape beyond the data": (safetensors({"a": entry([1 << 40], 0, 8)}), "shape"),
    "a shape beyond all numbers": (safetensors({"a": entry([1 << 62, 1 << 62], 0, 8)}), "overflow"),
    "tensors that overlap": (safetensors({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}), "offset"),
    "a hole": (safetensors({"a": entry([1], 4, 8)}), "offset"),
    "bytes of nobody": (safetensors({"a": entry([1], 0, 4)}), "not fully covered"),
    "an unknown type": (safetensors({"a": entry([1], 0, 8, "F99")}), "unknown variant"),
    "120 MiB of remarks": (
        safetensors({"__metadata__": {"a": "x" * (120 << 20)}, "a": entry([2], 0, 8)}),
        "header too large",
    ),
}


def forged_weights(content: bytes) -> Callable[[], Files]:
    return lambda: {**pytorch(), "weights": ("small.safetensors", content)}


def forged_samples(content: bytes) -> Callable[[], Files]:
    return lambda: {**pytorch(), "dataset": ("samples.safetensors", content)}


def legacy(value: Any) -> bytes:
    return saved(value, _use_new_zipfile_serialization=False)


def state(**changed: torch.Tensor) -> bytes:
    tensors = torch.load(io.BytesIO(weights()))
    return saved(tensors | {name.replace("__", "."): tensor for name, tensor in changed.items()})


def twice() -> bytes:
    tensors = torch.load(io.BytesIO(weights()))
    return saved({f"{copy}.{name}": tensor for copy in "ab" for name, tensor in tensors.items()})


CASES = {
    "truncated weights": Case(
        code="truncated_file", says=("small.pth", "truncated", "again"), files=lambda: pytorch(weights=weights()[:900])
    ),
    "weights that are text": Case(
        code="unknown_format", says=("small.pth", "a state dict"), files=lambda: pytorch(weights=b"not a model" * 50)
    ),
    "a whole pickled module": Case(
        code="pickled_module",
        says=("whole pickled model", "model.state_dict()"),
        files=lambda: pytorch(weights=saved(nn.Sequential(nn.Conv2d(1, 6, 3)))),
    ),
    "a state dict that does not fit": Case(
        code="state_dict_mismatch",
        says=("head.weight is (9, 6) in the file and (3, 6) in the model", "Send the state dict of the very class"),
        files=lambda: pytorch(weights=state(head__weight=torch.zeros(9, 6))),
    ),
    "a state dict with more layers": Case(
        code="state_dict_mismatch",
        says=("in the file but not in the model: tail.bias",),
        files=lambda: pytorch(weights=state(tail__bias=torch.zeros(9))),
    ),
    "a pickle bomb for weights": Case(
        code="unknown_format", says=("more than tensors", "system"), files=lambda: pytorch(weights=saved({"a": Bomb()}))
    ),
    "a bare pickle bomb for weights": Case(
        code="unknown_format", says=("small.pth",), files=lambda: pytorch(weights=pickle.dumps(Bomb()))
    ),
    "a pickle bomb for a dataset": Case(
        code="dataset_invalid",
        says=("train_loader.pth holds a int, not a DataLoader",),
        files=lambda: pytorch(dataset=saved(Bomb())),
    ),
    "a loader whose class is missing": Case(
        code="dataset_invalid",
        says=("needs Planes of the module __main__", "Define Planes in the class file"),
        files=lambda: pytorch(dataset=loader_of_a_script()),
    ),
    "a tensor of 4 TiB in four bytes": Case(
        code="hostile_file",
        says=("conv.bias claims 4,398,046,511,104 bytes", "stores 4"),
        files=lambda: pytorch(weights=state(conv__bias=torch.zeros(1).expand(1 << 40))),
    ),
    "compressed weights": Case(
        code="hostile_file",
        says=("is compressed", "Save it again"),
        files=lambda: pytorch(weights=compressed_weights()),
    ),
    "two members of one name": Case(
        code="hostile_file", says=("two of its members have one name",), files=lambda: pytorch(weights=two_of_a_name())
    ),
    "members that overlap": Case(
        code="hostile_file", says=("larger than the file itself",), files=lambda: pytorch(weights=overlapping())
    ),
    "a pickle bomb of before torch 1.6": Case(
        code="unknown_format",
        says=("posix.system", "runs code on the machine"),
        files=lambda: pytorch(weights=legacy({"a": Bomb()})),
    ),
    "a pickle bomb of before torch 1.6 for a dataset": Case(
        code="dataset_invalid", says=("not a DataLoader",), files=lambda: pytorch(dataset=legacy(Bomb()))
    ),
    "half of weights of before torch 1.6": Case(
        code="truncated_file",
        says=("damaged or truncated",),
        files=lambda: pytorch(weights=legacy(torch.load(io.BytesIO(weights())))[:-30]),
    ),
    "a header of a terabyte": Case(
        code="unknown_format", says=("of an unknown kind",), files=forged_weights(safetensors({}, length=1 << 40))
    ),
    "a name of a hundred thousand letters": Case(
        code="state_dict_mismatch",
        says=(f"{'x' * 200}. Send the state dict",),
        files=forged_weights(safetensors({"x" * 100_000: entry([2], 0, 8)})),
    ),
    "a sample of one number": Case(
        code="dataset_invalid",
        says=("one sample has the shape",),
        files=forged_samples(safetensors({"x": entry([2], 0, 8)})),
    ),
    **{
        f"weights with {name}": Case(
            code="truncated_file", says=("damaged safetensors file", says), files=forged_weights(content)
        )
        for name, (content, says) in FORGED.items()
    },
    **{
        f"samples with {name}": Case(
            code="truncated_file", says=("damaged safetensors file", says), files=forged_samples(content)
        )
        for name, (content, says) in FORGED.items()
        if "remarks" not in name
    },
    "an unknown layer": Case(code="unknown_layer", says=("fc9", "conv", "head"), query=asked(ommitted="fc9,head")),
    "a syntax error": Case(
        code="class_file_invalid",
        says=("small.py, line 3", "Python can't read the file"),
        files=lambda: pytorch(class_def=source(top="def broken(:")),
    ),
    "an import that is not there": Case(
        code="class_file_invalid",
        says=("imports not_installed", "torch only", "small.py, line 3"),
        files=lambda: pytorch(class_def=source(top="import not_installed")),
    ),
    "a class that is not there": Case(
        code="class_file_invalid",
        says=("Large is not in the file", "Its model classes: Small"),
        query=asked(model_name="Large"),
    ),
    "a constructor that needs arguments": Case(
        code="constructor_failed",
        says=("Small() needs arguments: classes", "Give them defaults"),
        files=lambda: pytorch(class_def=source().replace(b"__init__(self)", b"__init__(self, classes)")),
    ),
    "arguments of another name": Case(
        code="constructor_failed",
        says=("Small(classes) takes no 'clases'", "Did you mean 'classes'?"),
        query=asked(model_args='{"classes": 3, "clases": 3}'),
        files=lambda: pytorch(class_def=source().replace(b"__init__(self)", b"__init__(self, classes)")),
    ),
    "arguments of another model": Case(
        code="state_dict_mismatch",
        says=("head.weight is (3, 6) in the file and (7, 6) in the model",),
        query=asked(model_args="[7]"),
        files=lambda: pytorch(
            class_def=source().replace(b"__init__(self)", b"__init__(self, n)").replace(b"(6, 3)", b"(6, n)")
        ),
    ),
    "a whole model in a checkpoint": Case(
        code="pickled_module",
        says=("whole pickled model", "weights_only=False)['model']"),
        files=lambda: pytorch(weights=saved({"epoch": 1, "model": nn.Linear(2, 2)})),
    ),
    "a checkpoint with a bomb beside": Case(
        code="unknown_format",
        says=("more than tensors", "posix.system", "runs code on the machine"),
        files=lambda: pytorch(weights=saved({"state_dict": torch.load(io.BytesIO(weights())), "logger": Bomb()})),
    ),
    "a checkpoint without a model": Case(
        code="unknown_format",
        says=("holds a dict with the keys epoch, planes", "Planes"),
        files=lambda: pytorch(weights=saved({"epoch": 1, "planes": Planes()})),
    ),
    "two copies of the model": Case(
        code="state_dict_mismatch",
        says=("more than once: under 'a.' and under 'b.'",),
        files=lambda: pytorch(weights=twice()),
    ),
    "a sparse tensor": Case(
        code="unknown_format",
        says=("head.weight is a torch.sparse_coo tensor", "to_dense()"),
        files=lambda: pytorch(weights=state(head__weight=torch.eye(3, 6).to_sparse())),
    ),
    "weights of before torch 0.1.10": Case(
        code="unknown_format",
        says=("before version 0.1.10", "torch.load"),
        files=lambda: pytorch(weights=b"sys_info".ljust(257, b"\0") + b"ustar".ljust(300, b"\0")),
    ),
    "an index of shards": Case(
        code="unknown_format",
        says=("an index of shards", "st.save_file"),
        files=lambda: pytorch(weights=b'{"metadata": {"total_size": 8}, "weight_map": {}}'),
    ),
    "too many inputs": Case(
        code="input_size_invalid",
        says=("Small.forward takes 1 inputs (x) and input_size gives 2", "semicolon"),
        query=asked(input_size="1,8,8;5"),
    ),
    "fractions for a table": Case(
        code="input_size_invalid",
        says=("input_size=1,8,8:int64<9", "table with 9 rows"),
        query=asked(input_size="1,8,8:float32"),
        files=lambda: pytorch(
            weights=state(table__weight=torch.zeros(9, 2)),
            class_def=source(constructor="self.table = nn.Embedding(9, 2)", forward="x = self.table(x).sum(-1)"),
        ),
    ),
    "a constructor that raises": Case(
        code="constructor_failed",
        says=("Small() failed", "small.py, line 10, in __init__", "ValueError: no such width"),
        files=lambda: pytorch(class_def=source(constructor="raise ValueError('no such width')")),
    ),
    "a forward that raises": Case(
        code="forward_failed",
        says=("small.py, line 13, in forward", "KeyError: 'missing'"),
        files=lambda: pytorch(class_def=source(forward="x = {}['missing']")),
    ),
    "an input_size that the model does not take": Case(
        code="input_size_invalid",
        says=("samples of 3,8,8", "to have 1 channels", "input_size is the shape of one sample"),
        query=asked(input_size="3,8,8"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_file_fails_its_job_with_its_own_reason(case: Case, refused: End) -> None:
    assert not MARK.exists(), "the bomb went off outside the sandbox"

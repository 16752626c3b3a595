"""Every bad upload of a PyTorch user gets its own error, which names the file and says what to do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from coppice.errors import (
    ClassFileInvalid,
    ConstructorFailed,
    CoppiceError,
    DatasetInvalid,
    EmptyFile,
    ForwardFailed,
    HostileFile,
    InputSizeInvalid,
    ParameterMissing,
    PickledModule,
    StateDictMismatch,
    TruncatedFile,
    UnknownFormat,
)
from coppice.formats import open_upload
from tests.formats.models import MODELS, NET, Model, built, upload

NET_MODEL = MODELS["document"]


class PlaneDataset(Dataset[Any]):
    """A class of the user's script, which the service can't have."""

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(1, 28, 28), 0

    def __len__(self) -> int:
        return 4


class PathDataset(PlaneDataset):
    """Like torchvision's ImageFolder: it holds paths, not images."""

    def __getitem__(self, index: int) -> Any:
        return Path("/kaggle/input/planes/0.png").read_bytes(), 0


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def repacked(content: bytes, compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    return buffer.getvalue()


def state(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    tensors = {**built(NET, "Net").state_dict(), **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in tensors.items() if value is not None}


def source(text: str, *, name: str = "Net", file: str = "model.py") -> Model:
    return Model(source=text, name=name, input_size=(1, 28, 28), file=file)


def net(old: str, new: str) -> Model:
    assert old in NET
    return replace(NET_MODEL, source=NET.replace(old, new))


@dataclass(frozen=True, kw_only=True)
class Case:
    error: type[CoppiceError]
    says: tuple[str, ...]
    model: Model = NET_MODEL
    given: Callable[[], dict[str, Any]] = dict


def with_weights(make: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {"weights": make()}


def with_dataset(make: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {"dataset": make()}


def loader(shape: tuple[int, ...]) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(4, *shape), torch.zeros(4)))


def of_module(content: bytes, new: bytes) -> bytes:
    """The pickle as it would be, had our class stood in another module."""
    old = __name__.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(buffer, "w") as after:
        for member in before.namelist():
            after.writestr(member, before.read(member).replace(old, new))
    return buffer.getvalue()


CASES = {
    "empty weights": Case(error=EmptyFile, says=("weights.pth", "0 bytes"), given=with_weights(lambda: b"")),
    "truncated weights": Case(
        error=TruncatedFile, says=("weights.pth", "truncated"), given=with_weights(lambda: saved(state())[:5000])
    ),
    "truncated weights of the old format": Case(
        error=TruncatedFile,
        says=("weights.pth", "truncated"),
        given=with_weights(lambda: saved(state(), _use_new_zipfile_serialization=False)[:300_000]),
    ),
    "weights that are text": Case(
        error=UnknownFormat, says=("weights.pth", "state dict", "68 65 6c"), given=with_weights(lambda: b"hello, world")
    ),
    "an .h5 sent as weights": Case(
        error=UnknownFormat, says=("HDF5",), given=with_weights(lambda: b"\x89HDF\r\n\x1a\n" + bytes(64))
    ),
    "a whole pickled module": Case(
        error=PickledModule,
        says=("weights.pth", "torch.load", "model.state_dict()", "weights_state.pth"),
        given=with_weights(lambda: nn.Sequential(nn.Linear(2, 2))),
    ),
    "a whole pickled module of the old format": Case(
        error=PickledModule,
        says=("torch.save(model.state_dict()",),
        given=with_weights(lambda: saved(nn.Sequential(nn.Linear(2, 2)), _use_new_zipfile_serialization=False)),
    ),
    "a pickled list": Case(
        error=UnknownFormat, says=("holds a list", "model.state_dict()"), given=with_weights(lambda: [1, 2, 3])
    ),
    "code in the state dict": Case(
        error=UnknownFormat,
        says=("more than tensors", "PlaneDataset"),
        given=with_weights(lambda: {**state(), "data": PlaneDataset()}),
    ),
    "compressed weights": Case(
        error=HostileFile,
        says=("compressed",),
        given=with_weights(lambda: repacked(saved(state()), zipfile.ZIP_DEFLATED)),
    ),
    "a tensor of 4 TiB in four bytes": Case(
        error=HostileFile,
        says=("conv1.bias", "claims 4,398,046,511,104 bytes", "stores 4"),
        given=with_weights(lambda: state(conv1__bias=torch.zeros(1).expand(1 << 40))),
    ),
    "a key missing": Case(
        error=StateDictMismatch, says=("missing", "conv2.bias"), given=with_weights(lambda: state(conv2__bias=None))
    ),
    "a key too many": Case(
        error=StateDictMismatch,
        says=("not in the model", "fc3.bias"),
        given=with_weights(lambda: state(fc3__bias=torch.zeros(1))),
    ),
    "a tensor of another shape": Case(
        error=StateDictMismatch,
        says=("fc2.weight", "(7, 128)", "(10, 128)"),
        given=with_weights(lambda: state(fc2__weight=torch.zeros(7, 128))),
    ),
    "a syntax error": Case(
        error=ClassFileInvalid,
        says=("model.py, line 6", "def __init__(self)"),
        model=net("__init__(self):", "__init__(self)"),
    ),
    "bytes that are no source": Case(error=ClassFileInvalid, says=("model.py",), model=source("import torch\0")),
    "an import that is not here": Case(
        error=ClassFileInvalid,
        says=("imports not_installed", "torch only", "model.py, line 1"),
        model=source("import not_installed\n" + NET),
    ),
    "a class name that is not there": Case(
        error=ClassFileInvalid, says=("Missing is not in the file", "Net"), model=replace(NET_MODEL, name="Missing")
    ),
    "a class that is no module": Case(
        error=ClassFileInvalid,
        says=("Thing is not a subclass", "Net"),
        model=source(NET + "\nclass Thing: pass\n", name="Thing"),
    ),
    "a class file that raises": Case(
        error=ClassFileInvalid,
        says=("model.py, line 1", "ZeroDivisionError"),
        model=source("number = 1 / 0\n" + NET),
    ),
    "a class file that exits": Case(
        error=ClassFileInvalid, says=("SystemExit",), model=source("import sys\nsys.exit(0)\n" + NET)
    ),
    "a class file named like a module of Python": Case(
        error=ClassFileInvalid, says=("json.py", "Rename"), model=replace(NET_MODEL, file="json.py")
    ),
    "a constructor that needs arguments": Case(
        error=ConstructorFailed,
        says=("Net() needs arguments: classes, width",),
        model=net("__init__(self)", "__init__(self, classes, width, depth=3)"),
    ),
    "a constructor that raises": Case(
        error=ConstructorFailed,
        says=("model.py, line 9, in __init__", "ValueError: no such width"),
        model=net(
            "nn.Conv2d(32, 64, 3, 1)", "self.width()\n\n    def width(self):\n        raise ValueError('no such width')"
        ),
    ),
    "a forward that raises": Case(
        error=ForwardFailed,
        says=("model.py, line 25, in forward", "KeyError: 'missing'"),
        model=net("x = self.dropout2(x)", "x = {}['missing']"),
    ),
    "an input_size with other channels": Case(
        error=InputSizeInvalid,
        says=("3,28,28", "channels", "line 16", "1,28,28 for a"),
        given=lambda: {"input_size": (3, 28, 28)},
    ),
    "an input_size with other pixels": Case(
        error=InputSizeInvalid,
        says=("cannot be multiplied", "x = self.fc1(x)"),
        given=lambda: {"input_size": (1, 32, 32)},
    ),
    "no input_size": Case(error=InputSizeInvalid, says=("missing", "1,28,28"), given=lambda: {"input_size": None}),
    "no model_name": Case(error=ParameterMissing, says=("model_name",), given=lambda: {"model_name": None}),
    "a forward with two inputs": Case(
        error=InputSizeInvalid, says=("takes 2 inputs (x, y)",), model=net("forward(self, x)", "forward(self, x, y)")
    ),
    "a loader of another size": Case(
        error=DatasetInvalid,
        says=("train_loader.pth", "3,32,32", "1,28,28"),
        given=with_dataset(lambda: loader((3, 32, 32))),
    ),
    "a loader whose class is missing": Case(
        error=DatasetInvalid,
        says=("PlaneDataset", "__main__", "class file"),
        given=with_dataset(lambda: of_module(saved(DataLoader(PlaneDataset())), b"__main__")),
    ),
    "a loader whose module is missing": Case(
        error=DatasetInvalid,
        says=("module my_own_dataset",),
        given=with_dataset(lambda: of_module(saved(DataLoader(PlaneDataset())), b"my_own_dataset")),
    ),
    "a loader of paths": Case(
        error=DatasetInvalid,
        says=("holds the paths", "/kaggle/input/planes/0.png", "TensorDataset(images, labels)"),
        model=net("import torch\n", "import torch\nfrom pathlib import Path\n"),
        given=with_dataset(lambda: DataLoader(PathDataset())),
    ),
    "a loader without samples": Case(
        error=DatasetInvalid,
        says=("no samples",),
        given=with_dataset(lambda: DataLoader(TensorDataset(torch.zeros(0, 1, 28, 28)))),
    ),
    "a truncated loader": Case(
        error=DatasetInvalid,
        says=("not finished by torch.save", "lambda"),
        given=with_dataset(lambda: saved(loader((1, 28, 28)))[:2000]),
    ),
    "a loader that is no loader": Case(
        error=DatasetInvalid, says=("holds a dict", "DataLoader"), given=with_dataset(lambda: {"a": 1})
    ),
    "a loader that is a picture": Case(
        error=DatasetInvalid, says=("DataLoader",), given=with_dataset(lambda: b"\x89PNG....")
    ),
    "a compressed loader": Case(
        error=HostileFile,
        says=("train_loader.pth", "compressed"),
        given=with_dataset(lambda: repacked(saved(loader((1, 28, 28))), zipfile.ZIP_DEFLATED)),
    ),
}


def laid_out(folder: Path, case: Case) -> tuple[Any, Any]:
    return upload(folder, case.model, **{"weights": state(), **case.given()})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_upload_is_refused_with_its_own_error(case: Case, tmp_path: Path) -> None:
    request, files = laid_out(tmp_path, case)
    with pytest.raises(CoppiceError) as caught:
        open_upload(request, files)
    assert type(caught.value) is case.error
    assert [words for words in case.says if words not in caught.value.message] == []
    assert str(tmp_path) not in caught.value.message


#: One case of every error: a child takes seconds to start.
OF_EVERY_ERROR = {case.error: name for name, case in CASES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("case", [CASES[name] for name in OF_EVERY_ERROR.values()], ids=list(OF_EVERY_ERROR.values()))
def test_a_child_leaves_the_error_as_data(case: Case, tmp_path: Path) -> None:
    laid_out(tmp_path, case)
    command = [sys.executable, "-m", "coppice.child", str(tmp_path)]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, check=False, timeout=120)
    failure = json.loads((tmp_path / "out" / "failure.json").read_text())
    assert done.returncode == case.error.exit_code
    assert failure["code"] == case.error.code
    assert [words for words in case.says if words not in failure["message"]] == []
    assert not (tmp_path / "out" / "report.json").exists()

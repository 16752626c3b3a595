"""What the bad uploads of a PyTorch user are made of."""

from __future__ import annotations

import io
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.package import PackageExporter  # type: ignore[attr-defined]  # torch names it nowhere
from torch.utils.data import DataLoader, Dataset, TensorDataset

from coppice.errors import (
    CoppiceError,
)
from tests.formats.models import MODELS, NET, WORDS, Model, built

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


def words() -> dict[str, Any]:
    return built(WORDS, "Words").state_dict()


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


def written_by(write: Callable[[str], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the format is deprecated: it is what people have
        path = Path(folder) / "file"
        write(str(path))
        return path.read_bytes()


def exported(path: str) -> None:
    with Path(path).open("wb") as file:
        torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), file)


def packaged(path: str) -> None:
    with PackageExporter(path) as package:
        package.extern("torch.**")
        package.save_pickle("model", "model.pkl", nn.Linear(2, 2))


def tar_of_old(path: str) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the type is deprecated
        found: torch.Tensor = torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)
    return found


def dynamically_quantized() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated: it is what people have
        quantize = torch.ao.quantization.quantize_dynamic
        model = quantize(built(NET, "Net"), {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]  # torch's
    found: dict[str, Any] = model.state_dict()
    return found


def of_module(content: bytes, new: bytes) -> bytes:
    """The pickle as it would be, had our class stood in another module."""
    old = __name__.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(buffer, "w") as after:
        for member in before.namelist():
            after.writestr(member, before.read(member).replace(old, new))
    return buffer.getvalue()

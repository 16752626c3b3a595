"""Sample data that is broken, lies about its sizes, or is no data: arrays in every call, and loaders in PyTorch's."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib import format as npy
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tests.hostile.case import Case, End, pytorch, saved, source
from tests.hostile.test_keras_uploads import small as small_keras
from tests.hostile.test_onnx_uploads import good as good_onnx
from tests.hostile.test_uploads import MARK, Bomb
from tests.serving import Files

pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).normal(size=(32, 1, 8, 8)).astype(np.float32)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def lying(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    """A compressed archive of one array that says it is of this shape."""
    member, buffer = io.BytesIO(), io.BytesIO()
    npy.write_array_header_1_0(member, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member.getvalue() + content)
    return buffer.getvalue()


def declaring(size: int) -> bytes:
    """An archive whose directory declares more than a member holds."""
    content = bytearray(npz(x=IMAGES))
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = size.to_bytes(4, "little")
    return bytes(content)


def named(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"\x93NUMPY")
    return buffer.getvalue()


ENDLESS = """
class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        while True:
            if torch.zeros(1) > 0:
                yield torch.zeros(1, 8, 8)
"""


PATHS = """
class Paths(torch.utils.data.Dataset):
    def __getitem__(self, index):
        with open(f"/kaggle/input/{index}.png", "rb") as image:
            return image.read()
    def __len__(self):
        return 9
"""


class Paths(Dataset[Any]):
    """Stands in the class file, too: there it opens files of the user's machine."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return 9


class Cropped(Dataset[Any]):
    """Holds what can't be pickled."""

    def __init__(self) -> None:
        self.transform: Callable[[int], int] = lambda image: image

    def __getitem__(self, index: int) -> Any:
        return self.transform(index)


def unfinished() -> bytes:
    """What torch.save leaves behind when it fails."""
    buffer = io.BytesIO()
    with suppress(AttributeError):
        torch.save(DataLoader(Cropped()), buffer)
    return buffer.getvalue()


class Endless(IterableDataset[Any]):
    """Stands in the class file of the upload, too: there it looks for its first sample forever."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def endless() -> bytes:
    return of_the_class_file(Endless())


def of_the_class_file(samples: Dataset[Any]) -> bytes:
    """A loader as it is saved where the class file of the upload is a module."""
    content, buffer = saved(DataLoader(samples)), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(__name__.encode(), b"small"))
    return buffer.getvalue()


def torch_call(make: Callable[[], bytes]) -> Callable[[], Files]:
    return lambda: {**pytorch(), "dataset": ("samples.npz", make())}


def case(code: str, *says: str, make: Callable[[], bytes]) -> Case:
    return Case(code=code, says=says, files=torch_call(make))


CASES = {
    "a pickle in an array": case(
        "dataset_invalid",
        "x holds Python objects",
        make=lambda: npz(x=np.array([Bomb()], dtype=object)),
    ),
    "a bare pickle": case("dataset_invalid", "a Python pickle", make=lambda: pickle.dumps(Bomb())),
    "an array of 16 TiB": case(
        "truncated_file", "17,592,186,044,416 bytes by its header", make=lambda: lying((1 << 42,))
    ),
    "endless rows of nothing": case("dataset_invalid", "no numbers", make=lambda: lying((1 << 60, 0))),
    "a directory that lies": case("truncated_file", "bytes by its header", make=lambda: declaring(0xFFFFFFF0)),
    "names that climb out": case("hostile_file", "not plainly inside", make=lambda: named("../../x.npy")),
    "half of an archive": case("dataset_invalid", "numpy", make=lambda: npz(x=IMAGES)[:2000]),
    "nothing but NaN": case("dataset_invalid", "none of the 32 samples", make=lambda: npz(x=IMAGES * np.nan)),
    "images without their axis": case(
        "dataset_invalid",
        "one sample has the shape 8,8, and input_size says 1,8,8",
        "x[:, None]",
        make=lambda: npz(x=IMAGES[:, 0]),
    ),
    "arrays of unknown names": case("dataset_invalid", "which of these", make=lambda: npz(a=IMAGES, b=IMAGES)),
    "an empty file": Case(
        code="empty_file", says=("samples.npz",), http=422, files=lambda: {**pytorch(), "dataset": ("samples.npz", b"")}
    ),
    "a loader in the Keras call": Case(
        code="unsupported_media_type",
        says=(".npz",),
        http=415,
        call="tf_prune",
        query={"percent": "0.5"},
        files=lambda: {"model": ("m.h5", small_keras()), "dataset": ("train_loader.pth", saved(Bomb()))},
    ),
    "a pickle in the Keras call": Case(
        code="dataset_invalid",
        says=("samples.npz is a PyTorch file", "numpy.savez"),
        call="tf_prune",
        query={"percent": "0.5"},
        files=lambda: {"model": ("m.h5", small_keras()), "dataset": ("samples.npz", saved(Bomb()))},
    ),
    "samples of another shape in the ONNX call": Case(
        code="dataset_invalid",
        says=("the shape 1,8,8", "the model takes 3,8,8 as x"),
        call="onnx_prune",
        query={"percent": "0.5"},
        files=lambda: {
            "model": ("small.onnx", good_onnx().SerializeToString()),
            "dataset": ("samples.npz", npz(x=IMAGES)),
        },
    ),
    "a loader of paths": Case(
        code="dataset_invalid",
        says=("holds the paths of its data and not the data", "0.png is not here"),
        files=lambda: pytorch(class_def=source(top=PATHS), dataset=of_the_class_file(Paths())),
    ),
    "a loader that couldn't be saved": Case(
        code="dataset_invalid",
        says=("was not finished by torch.save", "lambda"),
        files=lambda: pytorch(dataset=unfinished()),
    ),
    "a loader that never comes to an end": Case(
        code="time_limit",
        says=("was stopped",),  # by the clock of the wall or of the processor, whichever is first
        files=lambda: pytorch(class_def=source(top=ENDLESS), dataset=endless()),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_samples_fail_their_job_with_their_own_reason(case: Case, refused: End) -> None:
    assert refused.message
    assert not MARK.exists(), "the bomb went off outside the sandbox"

"""Files of arrays: read without running anything, a row at a time, and refused where their headers lie."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib import format as npy
from safetensors.torch import save

from coppice.errors import BadUpload, DatasetInvalid, HostileFile, TruncatedFile
from coppice.formats.arrays import open_arrays
from coppice.formats.dataset import Takes, assigned, read_arrays
from coppice.formats.samples import Gathered

X = np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32)
Y = np.arange(20)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def packed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def one(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape: tuple[int, ...], kind: str = "<f4", content: bytes = b"") -> bytes:
    """A header that says what it likes, and these bytes after it."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": kind})
    return buffer.getvalue() + content


def zipped(content: bytes, *, name: str = "x", method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def sent(tmp_path: Path, content: bytes, takes: Sequence[Takes] = (Takes(name="image"),), name: str = "") -> Gathered:
    path = tmp_path / (name or "file")
    path.write_bytes(content)
    return read_arrays(path, takes, file=path.name, seed=0)


@pytest.mark.parametrize(
    "write",
    [
        lambda x, y: npz(x=x, y=y),
        lambda x, y: npz(arr_0=x, arr_1=y),
        lambda x, y: packed(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2]),
        lambda x, y: npz(image=np.asfortranarray(x), labels=y.astype(">i4")),
        lambda x, y: npz(X=x.astype(">f8"), Y=y.astype(np.uint16)),
        lambda x, y: save({"images": torch.from_numpy(x), "targets": torch.from_numpy(y)}),
    ],
    ids=["npz", "in order", "compressed", "by column", "big end first", "safetensors"],
)
def test_what_was_saved_is_what_is_read(write: Callable[..., bytes], tmp_path: Path) -> None:
    found = sent(tmp_path, write(X, Y))
    np.testing.assert_array_equal(found.samples.inputs[0].numpy(), X)
    assert found.samples.labels is not None
    np.testing.assert_array_equal(found.samples.labels.numpy(), Y)
    assert found.notes == ()


def test_a_bare_array_is_the_input(tmp_path: Path) -> None:
    found = sent(tmp_path, one(X), name="whatever.npy")
    np.testing.assert_array_equal(found.samples.inputs[0].numpy(), X)
    assert found.samples.labels is None


@pytest.mark.parametrize("write", [npz, packed])
def test_of_many_samples_some_are_drawn_and_keep_their_labels(write: Callable[..., bytes], tmp_path: Path) -> None:
    numbers = np.arange(3000)
    found = sent(tmp_path, write(x=np.repeat(numbers[:, None], 5, 1).astype(np.float32), y=numbers)).samples
    assert found.labels is not None
    assert len(found) == 1024
    assert found.labels.max() > 2800
    assert torch.equal(found.inputs[0][:, 0].long(), found.labels)
    again = sent(tmp_path, write(x=np.repeat(numbers[:, None], 5, 1).astype(np.float32), y=numbers)).samples
    assert torch.equal(found.inputs[0], again.inputs[0])


def test_several_inputs_are_known_by_name(tmp_path: Path) -> None:
    takes = [Takes(name="right"), Takes(name="left")]
    found = sent(tmp_path, npz(left=X, right=X[:, 0], y=Y, note=np.array("text")), takes)
    assert [entry.shape for entry in found.samples.inputs] == [(20, 3), (20, 4, 3)]
    with pytest.raises(DatasetInvalid, match="left=left"):
        sent(tmp_path, npz(left=X, other=X), takes)
    with pytest.raises(DatasetInvalid, match="different numbers of samples"):
        sent(tmp_path, npz(left=X, right=X[:3]), takes)


@pytest.mark.parametrize(
    ("names", "inputs", "expected"),
    [
        (["x", "y"], ["image"], (("x",), "y")),
        (["y", "x"], ["x"], (("x",), "y")),
        (["x_test", "y_test", "x_train", "y_train"], ["image"], (("x_train",), "y_train")),
        (["train_images", "train_labels", "test_images"], ["image"], (("train_images",), "train_labels")),
        (["pictures"], ["image"], (("pictures",), None)),
        (["pictures", "labels"], ["image"], (("pictures",), "labels")),
        (["arr_1", "arr_0"], ["image"], (("arr_0",), "arr_1")),
        (["arr_0", "arr_1", "arr_2"], ["a", "b"], (("arr_0", "arr_1"), "arr_2")),
        (["left", "right"], ["image"], None),
        (["a"], ["a", "b"], None),
        (["labels"], ["image"], None),
    ],
)
def test_names_say_what_arrays_are(
    names: list[str], inputs: list[str], expected: tuple[tuple[str, ...], str | None] | None
) -> None:
    found = assigned(names, inputs)
    assert (None if found is None else (found.inputs, found.labels)) == expected


@pytest.mark.parametrize(
    ("found", "wanted", "way"),
    [
        ((28, 28), (28, 28, 1), "x[..., None]"),
        ((28, 28), (1, None, None), "x[:, None]"),
        ((3, 32, 32), (32, 32, 3), "numpy.moveaxis(x, 1, -1)"),
        ((32, 32, 3), (3, 32, 32), "numpy.moveaxis(x, -1, 1)"),
        ((28, 28), (784,), "x.reshape(len(x), -1)"),
        ((784,), (28, 28, 1), "x.reshape(-1, 28,28,1)"),
        ((30, 30), (28, 28), "them as the model is fed"),
    ],
)
def test_samples_of_another_shape_are_refused_with_what_to_send(
    found: tuple[int, ...], wanted: tuple[int | None, ...], way: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        sent(tmp_path, npz(x=np.zeros((9, *found), np.uint8)), [Takes(name="image", shape=wanted)])
    for words in (",".join(map(str, found)), ",".join("?" if size is None else str(size) for size in wanted), way):
        assert words in caught.value.message


def test_whole_numbers_that_were_saved_as_fractions_are_taken_and_others_refused(tmp_path: Path) -> None:
    takes = [Takes(name="tokens", dtype=torch.int64)]
    assert sent(tmp_path, npz(tokens=Y.astype(np.float64)), takes).samples.inputs[0].tolist() == Y.tolist()
    with pytest.raises(DatasetInvalid, match=r"whole numbers \(int64\) as tokens"):
        sent(tmp_path, npz(tokens=Y + 0.5), takes)


PICKLES = npz(x=np.array([{"a": 1}], dtype=object), y=Y)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (PICKLES, DatasetInvalid, "holds Python objects"),
        (npz(x=np.array(["a", "b"])), DatasetInvalid, "save plain numbers"),
        (npz(x=X + 1j), DatasetInvalid, "complex64"),
        (npz(x=X[:0]), DatasetInvalid, "no numbers"),
        (npz(x=np.array(3.0)), DatasetInvalid, "single numbers only"),
        (zipped(header((2**40, 3))), TruncatedFile, "13,194,139,533,312 bytes by its header, and there are 0"),
        (zipped(header((2**60, 0))), DatasetInvalid, "no numbers"),
        (zipped(header((-5, 3))), DatasetInvalid, "no numbers"),
        (zipped(header((2,), content=bytes(99))), TruncatedFile, "8 bytes by its header, and there are 99"),
        (zipped(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(99)), TruncatedFile, "no header"),
        (zipped(b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 0x2000), TruncatedFile, "no header"),
        (zipped(b"hello"), TruncatedFile, "no header"),
        (zipped(one(X), name="../../x"), HostileFile, "not plainly inside"),
        (npz(x=X)[:-40], DatasetInvalid, "a damaged zip archive"),
        (header((4, 4)), TruncatedFile, "64 bytes by its header, and there are 0"),
        (one(X)[:50], TruncatedFile, "no header"),
        (save({"x": torch.ones(3, 3)})[:-9], TruncatedFile, "damaged safetensors"),
        (b"once upon a time", DatasetInvalid, "numpy.savez"),
    ],
)
def test_what_is_no_file_of_numbers_is_refused(
    content: bytes, error: type[BadUpload], says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadUpload) as caught:
        sent(tmp_path, content)
    assert (type(caught.value), caught.value.field) == (error, "dataset")
    assert says in caught.value.message


def test_a_member_that_is_damaged_is_told(tmp_path: Path) -> None:
    content = bytearray(packed(x=np.random.default_rng(0).normal(size=(500, 50))))
    content[20000:20100] = bytes(100)
    with pytest.raises(TruncatedFile, match="damaged"):
        sent(tmp_path, bytes(content))


def test_labels_that_can_not_be_read_are_left_aloud(tmp_path: Path) -> None:
    for labels, says in ((np.array(["cat"] * 20), "save plain numbers"), (Y[:5], "5 of them for 20 samples")):
        found = sent(tmp_path, npz(x=X, y=labels))
        assert found.samples.labels is None
        assert says in found.notes[0]


def test_opening_reads_headers_only(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    path.write_bytes(zipped(header((1 << 16, 1 << 8), "|u1", bytes(1 << 24)), method=zipfile.ZIP_DEFLATED))
    with open_arrays(path, file="large.npz") as arrays:
        assert arrays["x"].shape == (1 << 16, 1 << 8)
        assert arrays["x"].rows([0, 65535]).shape == (2, 1 << 8)

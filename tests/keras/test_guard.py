"""Hostile and broken HDF5: each feature that no Keras file has is refused before anything is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from coppice.errors import CoppiceError, EmptyFile, HostileFile, TruncatedFile, UnknownFormat, WeightsOnly
from coppice.formats.keras import h5 as keras_h5
from coppice.formats.keras.hdf5_guard import open_guarded
from tests.keras.builders import input_layer, layer, numbers, sequential, weights, write_h5


def honest(path: Path) -> Path:
    config = sequential([input_layer([4]), layer("Dense", "dense", units=3, activation="relu", use_bias=True)])
    return write_h5(path, config, {"dense": weights("dense", kernel=numbers(4, 3), bias=numbers(3))})


def external_storage(file: h5py.File) -> None:
    file.create_dataset("secret", (10,), "u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def external_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/")


def soft_link(file: h5py.File) -> None:
    file["again"] = h5py.SoftLink("/model_weights")


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    file.create_virtual_dataset("virtual", layout)


def shape_bomb(file: h5py.File) -> None:
    file.create_dataset("bomb", (1 << 36,), "f4", chunks=(1 << 20,))


def compressed_bomb(file: h5py.File) -> None:
    space, properties = h5py.h5s.create_simple((1 << 34,)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1 << 16,))
    properties.set_deflate(9)
    bomb = h5py.Dataset(h5py.h5d.create(file.id, b"bomb", h5py.h5t.NATIVE_FLOAT, space, properties))
    bomb[: 1 << 16] = 0


def foreign_filter(file: h5py.File) -> None:
    file.create_dataset("squeezed", data=np.zeros(4096), compression="lzf")


def texts_of_any_length(file: h5py.File) -> None:
    file.create_dataset("texts", data=["a" * 10] * 3, dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    file.create_dataset("references", data=np.array([file.ref]), dtype=h5py.ref_dtype)


def circle(file: h5py.File) -> None:
    file["model_weights/dense/up"] = file["model_weights"]


def depth(file: h5py.File) -> None:
    file.create_group("/".join("a" * 200))


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (external_storage, "stored in another file"),
        (external_link, "link that leads elsewhere"),
        (soft_link, "link that leads elsewhere"),
        (virtual_dataset, "virtual dataset"),
        (shape_bomb, "claims 274,877,906,944 bytes"),
        (compressed_bomb, "claims 68,719,476,736 bytes"),
        (foreign_filter, "filters"),
        (texts_of_any_length, "instead of numbers"),
        (references, "instead of numbers"),
        (circle, "reached twice"),
        (depth, "nested too deeply"),
    ],
)
def test_it_is_refused(attack: Callable[[h5py.File], None], words: str, tmp_path: Path) -> None:
    path = honest(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        attack(file)
    with pytest.raises(HostileFile, match=words):
        keras_h5.read(path, "model.h5")


def test_an_honest_file_passes(tmp_path: Path) -> None:
    with open_guarded(honest(tmp_path / "model.h5"), "model.h5") as file:
        assert "model_weights" in file


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.touch()
    with pytest.raises(EmptyFile, match=r"model\.h5"):
        keras_h5.read(path, "model.h5")


def test_what_is_not_hdf5_is_shown_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(UnknownFormat, match="3c 68 74 6d 6c"):
        keras_h5.read(path, "model.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_called_damaged(share: float, tmp_path: Path) -> None:
    path = honest(tmp_path / "model.h5")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(TruncatedFile, match="damaged"):
        keras_h5.read(path, "model.h5")


def test_noise_in_a_file_never_escapes_as_another_error(tmp_path: Path) -> None:
    path = honest(tmp_path / "model.h5")
    clean = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        noisy = bytearray(clean)
        for position in random.integers(8, len(clean), 40):
            noisy[position] = int(random.integers(256))
        path.write_bytes(noisy)
        try:
            keras_h5.read(path, "model.h5")
        except CoppiceError as error:
            assert "model.h5" in error.message  # noqa: PT017  # reading may also succeed: the noise hit an array


def test_weights_alone_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
    with pytest.raises(WeightsOnly, match=r"model\.save"):
        keras_h5.read(path, "w.h5")


def test_hdf5_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(UnknownFormat, match="no model_config"):
        keras_h5.read(path, "data.h5")


def test_a_configuration_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    path = honest(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = b"[" * 200_000
    with pytest.raises(HostileFile, match="nested beyond reason"):
        keras_h5.read(path, "model.h5")

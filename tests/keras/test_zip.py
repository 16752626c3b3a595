"""The `.keras` archive: found by position, edited in place of its two members, refused where it holds anything else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from coppice import pipeline
from coppice.errors import HostileFile, TruncatedFile
from coppice.formats.keras import zip as keras_zip
from coppice.formats.keras.network import open_model
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from tests.keras.builders import called_3, functional, input_layer, layer, numbers, write_keras

# Each runs the whole pipeline, clean process and all: seconds.
pytestmark = pytest.mark.slow


def model() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two convolutions whose names say nothing of their order, as Keras 3 writes them."""
    window = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "activation": "relu", "use_bias": True}
    later = called_3(layer("Conv2D", "a_later", filters=8, **window), "z_first", shape=(None, 6, 6, 10))
    later["build_config"] = {"input_shape": [None, 6, 6, 10]}
    config = functional(
        [
            input_layer([6, 6, 2], key="batch_shape"),
            called_3(layer("Conv2D", "z_first", filters=10, **window), "image", shape=(None, 6, 6, 2)),
            later,
            called_3(layer("GlobalAveragePooling2D", "pool"), "a_later", shape=(None, 6, 6, 8)),
            called_3(layer("Dense", "last", units=3, activation="linear", use_bias=True), "pool", shape=(None, 8)),
        ],
        ["last", 0, 0],
        ["image", 0, 0],
    )
    arrays = {
        "conv2d": [numbers(3, 3, 2, 10), numbers(10)],
        "conv2d_1": [numbers(3, 3, 10, 8), numbers(8)],
        "dense": [numbers(8, 3), numbers(3)],
    }
    return config, arrays


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    return write_keras(tmp_path / "model.keras", *model())


def pruned(path: Path) -> Path:
    out = path.parent / "out"
    out.mkdir()
    request = Request(framework=Framework.KERAS, percent=0.5, files={Part.MODEL: path.name})
    report = pipeline.run(request, {Part.MODEL: path}, out, lambda _: None)
    return out / report.artifacts[0].file


def test_arrays_are_found_by_the_count_of_their_class(sent: Path) -> None:
    module = open_model(keras_zip.read(sent, "model.keras")).network.module
    assert torch.equal(module.get_parameter("a_later.kernel").detach(), torch.from_numpy(numbers(3, 3, 10, 8)))


def test_every_size_that_keras_3_repeats_follows(sent: Path) -> None:
    with zipfile.ZipFile(pruned(sent)) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    assert [entry["config"].get("filters") for entry in layers[1:3]] == [5, 4]
    assert layers[2]["build_config"] == {"input_shape": [None, 6, 6, 5]}
    assert layers[3]["inbound_nodes"][0]["args"][0]["config"]["shape"] == [None, 6, 6, 4]
    assert layers[1]["inbound_nodes"][0]["args"][0]["config"]["shape"] == [None, 6, 6, 2]


def test_the_archive_keeps_its_members_and_the_arrays_their_places(sent: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(sent) as before, zipfile.ZipFile(pruned(sent)) as after:
        assert after.namelist() == before.namelist()
        assert after.read("metadata.json") == before.read("metadata.json")
        after.extract("model.weights.h5", tmp_path)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert file["layers/conv2d_1/vars/0"].shape == (3, 3, 5, 4)
        assert "optimizer" not in file


def test_a_strange_member_is_refused(sent: Path) -> None:
    with zipfile.ZipFile(sent, "a") as archive:
        archive.writestr("assets/run_me.py", "import os")
    with pytest.raises(HostileFile, match=r"assets/run_me\.py"):
        keras_zip.read(sent, "model.keras")


def test_a_vocabulary_beside_the_arrays_stays(sent: Path, tmp_path: Path) -> None:
    member, out = "assets/layers/integer_lookup/vocabulary.txt", tmp_path / "out.keras"
    with zipfile.ZipFile(sent, "a") as archive:
        archive.writestr(member, "3\n5\n")
    keras_zip.write(sent, keras_zip.read(sent, "model.keras"), out, "model.keras")
    with zipfile.ZipFile(out) as archive:
        assert archive.read(member) == b"3\n5\n"


def test_a_path_out_of_the_archive_is_refused(sent: Path) -> None:
    with zipfile.ZipFile(sent, "a") as archive:
        archive.writestr("../config.json", "{}")
    with pytest.raises(HostileFile, match="not plainly inside"):
        keras_zip.read(sent, "model.keras")


@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_member_is_named(member: str, sent: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.keras"
    with zipfile.ZipFile(sent) as whole, zipfile.ZipFile(short, "w") as copy:
        for name in whole.namelist():
            if name != member:
                copy.writestr(name, whole.read(name))
    with pytest.raises(TruncatedFile, match=member):
        keras_zip.read(short, "short.keras")

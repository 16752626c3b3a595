"""The `.h5` that comes back is the one that was sent, edited: every trap that real files have set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from coppice import pipeline
from coppice.formats.keras import h5 as keras_h5
from coppice.records.frameworks import Framework
from coppice.records.report import Report
from coppice.records.request import Part, Request
from tests.keras.builders import Array, input_layer, layer, numbers, sequential, weights, write_h5

# Each runs the whole pipeline, clean process and all: seconds.
pytestmark = pytest.mark.slow

TRAINING = {"loss": "mse", "metrics": ["accuracy"], "optimizer_config": {"class_name": "SGD", "config": {"lr": 0.01}}}


def model() -> tuple[dict[str, Any], dict[str, dict[str, Array]]]:
    """conv 10, dense 6, dense 3; the convolution's arrays carry the name that it had before it was renamed."""
    conv = layer("Conv2D", "conv", filters=10, kernel_size=[3, 3], strides=[1, 1], padding="valid", activation="relu")
    dense = layer("Dense", "hidden/dense", units=6, activation="relu", use_bias=True)
    last = layer("Dense", "last", units=3, activation="softmax", use_bias=True)
    config = sequential([input_layer([6, 6, 2]), conv, layer("Flatten", "flatten"), dense, last])
    arrays = {
        "conv": weights("conv2d_7_1", kernel=numbers(3, 3, 2, 10), bias=numbers(10)),
        "flatten": {},
        "hidden/dense": weights("hidden/dense", kernel=numbers(160, 6), bias=numbers(6)),
        "last": weights("last", kernel=numbers(6, 3), bias=numbers(3)),
    }
    return config, arrays


def pruned(path: Path, percent: float = 0.4) -> tuple[Path, Report]:
    out = path.parent / "out"
    out.mkdir()
    request = Request(framework=Framework.KERAS, percent=percent, files={Part.MODEL: path.name})
    report = pipeline.run(request, {Part.MODEL: path}, out, lambda _: None)
    return out / report.artifacts[0].file, report


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """A compiled and trained model as TensorFlow 2.3 leaves it."""
    config, arrays = model()
    path = write_h5(tmp_path / "my model.h5", config, arrays, training=TRAINING)
    with h5py.File(path, "a") as file:
        file.create_dataset("optimizer_weights/SGD/iter:0", data=np.int64(7))
        file["optimizer_weights"].attrs["weight_names"] = np.array([b"SGD/iter:0"])
        file["model_weights"].create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
        file.create_dataset("unused", data=np.arange(5))
    return path


def test_sizes_in_the_configuration_follow_and_nothing_else_does(sent: Path) -> None:
    written, _ = pruned(sent)
    with h5py.File(sent) as before, h5py.File(written) as after:
        expected = json.loads(before.attrs["model_config"])
        expected["config"]["layers"][1]["config"]["filters"] = 6
        expected["config"]["layers"][3]["config"]["units"] = 4
        assert json.loads(after.attrs["model_config"]) == expected


def test_every_text_attribute_is_bytes_for_h5py_2(sent: Path) -> None:
    written, _ = pruned(sent)
    with h5py.File(written) as file:
        for holder in (file, file["model_weights"], file["model_weights/conv"], file["model_weights/hidden/dense"]):
            for name in holder.attrs:
                kind = holder.attrs.get_id(name).dtype
                text = h5py.check_string_dtype(kind)
                # A vlen UTF-8 text is what h5py 2 gives back as str, on which old Keras calls decode.
                assert text is None or text.encoding == "ascii", (holder.name, name)


def test_names_and_their_order_are_kept(sent: Path) -> None:
    written, _ = pruned(sent)
    with h5py.File(sent) as before, h5py.File(written) as after:
        for group in ("model_weights", "model_weights/conv", "model_weights/hidden/dense", "model_weights/last"):
            assert {name: value.tolist() for name, value in named(before[group])} == {
                name: value.tolist() for name, value in named(after[group])
            }
        assert after["model_weights/conv/conv2d_7_1/kernel:0"].shape == (3, 3, 2, 6)
        assert after["model_weights/hidden/dense/hidden/dense/kernel:0"].shape == (96, 4)


def named(group: h5py.Group) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in group.attrs.items() if name.endswith("_names")]


def test_the_compilation_is_kept_and_the_optimizer_state_left_out_aloud(sent: Path) -> None:
    written, report = pruned(sent)
    with h5py.File(written) as file:
        assert json.loads(file.attrs["training_config"]) == TRAINING
        assert "optimizer_weights" not in file
        assert "top_level_model_weights" in file["model_weights"]
        assert file["unused"][()].tolist() == [0, 1, 2, 3, 4]
    assert keras_h5.OPTIMIZER_DROPPED in report.notes


def test_the_file_shrinks(sent: Path) -> None:
    written, _ = pruned(sent, 0.7)
    assert written.stat().st_size < sent.stat().st_size


def test_the_result_is_named_after_the_upload(sent: Path) -> None:
    assert pruned(sent)[0].name == "my_model_pruned.h5"


def test_names_that_are_too_many_for_one_attribute_stay_chunked(tmp_path: Path) -> None:
    config, arrays = model()
    path = write_h5(tmp_path / "m.h5", config, arrays, chunk=1)
    written, _ = pruned(path)
    with h5py.File(written) as file:
        assert [name for name in file["model_weights"].attrs if name.startswith("layer_names")] == [
            f"layer_names{number}" for number in range(4)
        ]
        assert file["model_weights/conv"].attrs["weight_names1"].tolist() == [b"conv2d_7_1/bias:0"]


def test_types_and_compression_of_arrays_are_kept(tmp_path: Path) -> None:
    config, arrays = model()
    arrays["conv"] = {name: value.astype(np.float16) for name, value in arrays["conv"].items()}
    path = write_h5(tmp_path / "m.h5", config, arrays)
    with h5py.File(path, "a") as file:
        group = file["model_weights/last/last"]
        value = group["kernel:0"][()]
        del group["kernel:0"]
        group.create_dataset("kernel:0", data=value, compression="gzip", shuffle=True)
    written, _ = pruned(path)
    with h5py.File(written) as file:
        assert file["model_weights/conv/conv2d_7_1/kernel:0"].dtype == np.float16
        kernel = file["model_weights/last/last/kernel:0"]
        assert (kernel.shape, kernel.compression, kernel.shuffle) == ((4, 3), "gzip", True)


def test_layers_that_the_configuration_does_not_name_are_taken_by_order(tmp_path: Path) -> None:
    config, arrays = model()
    stored = {f"{name}_old": held for name, held in arrays.items()}
    written, report = pruned(write_h5(tmp_path / "m.h5", config, stored))
    assert report.after.parameters < report.before.parameters
    with h5py.File(written) as file:
        assert file["model_weights"].attrs["layer_names"].tolist() == [name.encode() for name in stored]


def test_hdf5_under_the_name_keras_keeps_that_name(sent: Path) -> None:
    lying = sent.rename(sent.with_name("model.keras"))
    written, _ = pruned(lying)
    assert written.name == "model_pruned.keras"
    assert h5py.is_hdf5(written)


@pytest.mark.parametrize(
    ("version", "loss", "written"),
    [
        ("3.15.1", "mse", "mean_squared_error"),
        ("3.15.1", {"a": "mae", "b": "huber"}, {"a": "mean_absolute_error", "b": "huber"}),
        ("2.4.0", "mse", "mse"),
    ],
)
def test_a_loss_that_keras_3_does_not_find_by_its_abbreviation_is_written_out(
    tmp_path: Path, version: str, loss: Any, written: Any
) -> None:
    config, arrays = model()
    sent = write_h5(tmp_path / "sent.h5", config, arrays, version=version, training={**TRAINING, "loss": loss})
    notes = keras_h5.write(sent, keras_h5.read(sent, "sent.h5"), tmp_path / "back.h5", "sent.h5")
    with h5py.File(tmp_path / "back.h5") as file:
        training = json.loads(file.attrs["training_config"])
    assert training == {**TRAINING, "loss": written}
    assert (keras_h5.LOSS_SPELLED in notes) == (loss != written)

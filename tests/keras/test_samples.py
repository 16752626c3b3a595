"""Samples that come with a Keras model: channels last, in the shape and the type that its configuration declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coppice import pipeline
from coppice.errors import DatasetInvalid
from coppice.formats.keras.source import open_keras
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from coppice.tracing import Network
from tests.keras.builders import Entry, called, functional, input_layer, layer, numbers, sequential, weights, write_h5

CHANCE = np.random.default_rng(0)
IMAGES, LABELS = CHANCE.normal(size=(40, 28, 28, 1)).astype(np.float32), CHANCE.integers(0, 3, 40)
CONV = {"filters": 8, "kernel_size": [3, 3], "strides": [9, 9], "padding": "valid", "data_format": "channels_last"}


def documents_model(folder: Path) -> Path:
    """A convolution and a dense layer on images of 28 x 28 x 1."""
    config = sequential(
        [
            layer("Conv2D", "conv", **CONV, batch_input_shape=[None, 28, 28, 1], activation="relu", use_bias=True),
            layer("Flatten", "flat"),
            layer("Dense", "out", units=3, activation="softmax", use_bias=True),
        ]
    )
    arrays = {
        "conv": weights("conv", kernel=numbers(3, 3, 1, 8), bias=numbers(8)),
        "flat": {},
        "out": weights("out", kernel=numbers(72, 3), bias=numbers(3)),
    }
    return write_h5(folder / "model.h5", config, arrays)


def words(folder: Path) -> Path:
    """A table of 10 rows."""
    table: Entry = layer("Embedding", "table", input_dim=10, output_dim=4, batch_input_shape=[None, 5])
    config = sequential([table, layer("Flatten", "flat"), layer("Dense", "out", units=2, use_bias=False)])
    arrays = {
        "table": weights("table", embeddings=numbers(10, 4)),
        "flat": {},
        "out": weights("out", kernel=numbers(20, 2)),
    }
    return write_h5(folder / "words.h5", config, arrays)


def open_size(folder: Path) -> Path:
    """Images of any size, two of them added."""
    layers = [
        input_layer([None, None, 2], "left"),
        input_layer([None, None, 2], "right"),
        called(layer("Add", "sum"), "left", "right"),
        called(layer("GlobalAveragePooling2D", "mean"), "sum"),
        called(layer("Dense", "hidden", units=6, use_bias=False), "mean"),
        called(layer("Dense", "out", units=2, use_bias=False), "hidden"),
    ]
    arrays = {
        "hidden": weights("hidden", kernel=numbers(2, 6)),
        "out": weights("out", kernel=numbers(6, 2)),
    }
    config = functional(layers, "out", [["left", 0, 0], ["right", 0, 0]])
    return write_h5(folder / "open.h5", config, {"left": {}, "right": {}, "sum": {}, "mean": {}, **arrays})


def opened(model: Path, **arrays: Any) -> Network:
    path = model.with_name("samples.npz")
    np.savez(path, **arrays)
    return open_keras(Request(framework=Framework.KERAS, percent=0.5), {Part.MODEL: model, Part.DATASET: path}).network


def test_the_documents_images_come_channels_last_with_their_labels(tmp_path: Path) -> None:
    network = opened(documents_model(tmp_path), x_train=IMAGES, y_train=LABELS)
    assert network.samples is not None
    assert network.samples.labels is not None
    label_of = {image.tobytes(): int(label) for image, label in zip(IMAGES, LABELS, strict=True)}
    read = {
        row.numpy().tobytes(): int(label)
        for row, label in zip(network.samples.inputs[0], network.samples.labels, strict=True)
    }
    assert read == label_of
    np.testing.assert_array_equal(network.inputs[0].numpy(), IMAGES[:2])


@pytest.mark.parametrize(
    ("images", "found", "way"),
    [
        (IMAGES[..., 0], "28,28,", "x[..., None]"),
        (IMAGES.transpose(0, 3, 1, 2), "1,28,28,", "numpy.moveaxis(x, 1, -1)"),
        (IMAGES.reshape(40, 784), "784,", "x.reshape(-1, 28,28,1)"),
    ],
)
def test_images_as_others_keep_them_are_refused_with_both_shapes(
    images: Any, found: str, way: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        opened(documents_model(tmp_path), x_train=(images * 40).astype(np.uint8), y_train=LABELS)
    assert f"the shape {found} and the model takes 28,28,1" in caught.value.message
    assert way in caught.value.message
    assert "scaled as in training" in caught.value.message


def test_pixels_are_converted_and_never_scaled(tmp_path: Path) -> None:
    pixels = CHANCE.integers(0, 256, (40, 28, 28, 1)).astype(np.uint8)
    network = opened(documents_model(tmp_path), x=pixels)
    np.testing.assert_array_equal(network.inputs[0].numpy(), pixels[:2].astype(np.float32))
    assert "uint8" in network.notes[0]
    assert "not scaled" in network.notes[0]


def test_tokens_stay_whole_numbers(tmp_path: Path) -> None:
    tokens = CHANCE.integers(0, 10, (40, 5))
    network = opened(words(tmp_path), x=tokens.astype(np.int32))
    assert network.samples is not None
    assert network.samples.inputs[0].dtype is torch.int64
    with pytest.raises(DatasetInvalid, match="from 0 to 30"):
        opened(words(tmp_path), x=np.where(np.arange(40)[:, None] == 33, 30, tokens))


def test_open_sizes_are_those_of_the_samples_and_several_inputs_go_by_name(tmp_path: Path) -> None:
    left, right = CHANCE.normal(size=(2, 40, 12, 7, 2)).astype(np.float32)
    network = opened(open_size(tmp_path), right=right, left=left)
    assert [entry.shape for entry in network.inputs] == [(2, 12, 7, 2)] * 2
    np.testing.assert_array_equal(network.inputs[1].numpy(), right[:2])
    with pytest.raises(DatasetInvalid, match="left, right"):
        opened(open_size(tmp_path), x=left)


def test_a_loader_of_pytorch_is_not_for_this_call(tmp_path: Path) -> None:
    model, path = documents_model(tmp_path), tmp_path / "train_loader.pth"
    torch.save([1], path)
    request = Request(framework=Framework.KERAS, percent=0.5)
    with pytest.raises(DatasetInvalid, match=r"a PyTorch file\. Save arrays: numpy\.savez"):
        open_keras(request, {Part.MODEL: model, Part.DATASET: path})


@pytest.mark.slow
def test_the_report_says_what_the_samples_say(tmp_path: Path) -> None:
    model, path = documents_model(tmp_path), tmp_path / "samples.npz"
    images = IMAGES.copy()
    images[7] = np.nan
    np.savez_compressed(path, x=images, y=LABELS)
    files = {Part.MODEL: model, Part.DATASET: path}
    request = Request(framework=Framework.KERAS, percent=0.5, files={part: file.name for part, file in files.items()})
    report = pipeline.run(request, files, tmp_path, lambda _: None)
    assert report.quality is not None
    assert report.quality.samples == 39
    assert report.quality.before.accuracy is not None
    assert "1 of 40 samples hold NaN or infinite numbers and are left out." in report.notes

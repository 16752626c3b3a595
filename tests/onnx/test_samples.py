"""Samples that come with an ONNX model, in the shape that its graph declares and for the batch that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from coppice.errors import DatasetInvalid
from coppice.formats.onnx.source import open_onnx
from coppice.records.frameworks import Framework
from coppice.records.inputs import parse_input_size
from coppice.records.request import Part, Request
from coppice.tracing import Network
from tests.onnx.builders import between, graph, numbers, weights

CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.normal(size=(40, 3, 8, 8)).astype(np.float32)


def opened(model: onnx.ModelProto, folder: Path, *, input_size: str | None = None, **arrays: Any) -> Network:
    files = {Part.MODEL: folder / "model.onnx", Part.DATASET: folder / "samples.npz"}
    onnx.save_model(model, files[Part.MODEL])
    np.savez(files[Part.DATASET], **arrays)
    request = Request(framework=Framework.ONNX, percent=0.5, input_size=parse_input_size(input_size))
    return open_onnx(request, files).network


def free() -> onnx.ModelProto:
    return between(helper.make_node("Relu", ["a"], ["z"]), opset=17)


def of_one_image() -> onnx.ModelProto:
    """What exporters write who were given one image: the batch stands in a Reshape."""
    return graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], name="first"),
            helper.make_node("Reshape", ["a", "sizes"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w2"], ["y"], name="last"),
        ],
        {"w1": weights(8, 3, 3, 3), "sizes": numbers(1, 288), "w2": weights(288, 4)},
        inputs={"x": [1, 3, 8, 8]},
        outputs={"y": [1, 4]},
    )


def test_samples_take_the_place_of_random_inputs(tmp_path: Path) -> None:
    network = opened(free(), tmp_path, x=IMAGES)
    np.testing.assert_array_equal(network.inputs[0].numpy(), IMAGES[:2])
    assert network.samples is not None
    assert {row.numpy().tobytes() for row in network.samples.inputs[0]} == {image.tobytes() for image in IMAGES}


def test_a_graph_of_one_image_is_given_one_at_a_time(tmp_path: Path) -> None:
    network = opened(of_one_image(), tmp_path, x=IMAGES, y=np.arange(40) % 4)
    np.testing.assert_array_equal(network.inputs[0].numpy(), IMAGES[:1])
    assert network.samples is not None
    assert network.samples.classified
    assert {len(batch) for batch in network.samples.batches(16)} == {1}
    assert "batches of 1 and not of 3" in network.notes[0]


def test_images_of_channels_last_are_refused_with_what_to_send(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="the model takes 3,8,8 as x") as caught:
        opened(free(), tmp_path, x=IMAGES.transpose(0, 2, 3, 1))
    assert "numpy.moveaxis(x, -1, 1)" in caught.value.message


def test_input_size_has_to_agree(tmp_path: Path) -> None:
    assert opened(free(), tmp_path, input_size="3,8,8", x=IMAGES).samples is not None
    with pytest.raises(DatasetInvalid, match="Make them agree"):
        opened(free(), tmp_path, input_size="3,9,9", x=IMAGES)

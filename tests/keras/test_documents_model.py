"""The Keras walk of the first document: its model, sent as TensorFlow 2.3 saves it, cut by 40 %."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest

from coppice import pipeline
from coppice.records.frameworks import Framework
from coppice.records.report import Check
from coppice.records.request import Part, Request
from tests.keras_h5 import DOCUMENTS_INPUT, DOCUMENTS_MODEL, sequential

# Each runs the whole pipeline, clean process and all: seconds.
pytestmark = pytest.mark.slow


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    path = tmp_path / "model.h5"
    path.write_bytes(sequential(DOCUMENTS_MODEL, DOCUMENTS_INPUT))
    return path


def test_it_comes_back_with_the_sizes_that_the_document_promises(sent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    request = Request(framework=Framework.KERAS, percent=0.4, files={Part.MODEL: "model.h5"})
    report = pipeline.run(request, {Part.MODEL: sent}, out, lambda _: None)
    assert (report.before.parameters, report.after.parameters) == (90_102, 32_457)
    assert report.verification.check is Check.EXACT
    with h5py.File(out / "model_pruned.h5") as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        sizes = [layer["config"].get("filters", layer["config"].get("units")) for layer in layers]
    assert [size for size in sizes if size is not None] == [19, 38, 19, 60, 10]


def test_an_omitted_layer_keeps_its_own_channels(sent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    request = Request(framework=Framework.KERAS, percent=0.4, omit=("conv2d_1",), files={Part.MODEL: "model.h5"})
    report = pipeline.run(request, {Part.MODEL: sent}, out, lambda _: None)
    removed = {group.name: group.removed for group in report.groups}
    assert removed == {"conv2d": 13, "conv2d_1": 0, "conv2d_2": 13, "dense": 40}

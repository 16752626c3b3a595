"""Files of Keras 2.0.5 and 2.2.4, written by those (tests/dialects/old_keras_side.py) and kept in old/."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from coppice import pipeline
from coppice.formats.keras import h5 as keras_h5
from coppice.formats.keras.network import open_model
from coppice.records.frameworks import Framework
from coppice.records.request import Request

OLD = Path(__file__).parent / "old"
each_file = pytest.mark.parametrize("path", sorted(OLD.glob("*.h5")), ids=lambda path: path.stem)


@each_file
def test_the_interpreter_computes_what_the_old_keras_computed(path: Path) -> None:
    module = open_model(keras_h5.read(path, path.name)).network.module
    with np.load(path.with_suffix(".npz")) as stored, torch.no_grad():
        found = module(torch.from_numpy(stored["inputs"])).numpy()
        np.testing.assert_allclose(found, stored["outputs"], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@each_file
def test_the_cut_file_keeps_its_old_dialect(path: Path, tmp_path: Path) -> None:
    opened = open_model(keras_h5.read(path, path.name))
    cut = pipeline.prune(opened.network, Request(framework=Framework.KERAS, percent=0.4), lambda _: None)
    keras_h5.write(path, opened.edited(cut.module), tmp_path / "cut.h5", path.name)
    with h5py.File(path) as was, h5py.File(tmp_path / "cut.h5") as now:
        before, after = (json.loads(file.attrs["model_config"]) for file in (was, now))
        assert type(before["config"]) is type(after["config"])
        assert before["class_name"] == after["class_name"] in ("Sequential", "Model")
        assert "lr" in json.loads(now.attrs["training_config"])["optimizer_config"]["config"]
        assert now.attrs["keras_version"] == was.attrs["keras_version"]
        groups = was["model_weights"], now["model_weights"]
        names = [{one for group in held.values() for one in group.attrs["weight_names"]} for held in groups]
        assert names[0] == names[1]
    again = open_model(keras_h5.read(tmp_path / "cut.h5", "cut.h5")).network.module
    assert sum(p.numel() for p in again.parameters()) < 0.7 * sum(p.numel() for p in opened.network.module.parameters())

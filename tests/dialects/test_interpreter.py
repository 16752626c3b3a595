"""Our interpreter computes what the framework that wrote the file computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coppice.formats import open_upload
from coppice.keras_layers.tree import tensors_in
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request
from tests.dialects.files import Dialect, Saved
from tests.dialects.test_round_trip import APPLICATIONS, LONG, SMALL, writes

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

#: What is computed doesn't depend on how it was stored, so one format of each framework is enough.
ONE_PER_FRAMEWORK = (Dialect("tf23", ".h5"), Dialect("tf212", ".h5"), Dialect("keras3", ".keras"))
TOLERANCE = 1e-5


@pytest.mark.parametrize(
    ("dialect", "model"),
    [
        pytest.param(dialect, model, id=f"{dialect}-{model}", marks=LONG if model in APPLICATIONS[1:] else ())
        for dialect in ONE_PER_FRAMEWORK
        for model in (*SMALL, *APPLICATIONS)
        if writes(dialect, model)
    ],
)
def test_the_interpreter_computes_what_the_framework_computes(saved: Saved, tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    saved.framework.ask("predict", file=saved.path, inputs=inputs, outputs=outputs)
    request = Request(framework=Framework.KERAS, percent=0, files={Part.MODEL: saved.upload.name})
    module = open_upload(request, {Part.MODEL: saved.upload}).network.module
    with np.load(inputs) as given, np.load(outputs) as wanted, torch.no_grad():
        found = [one.numpy() for one in tensors_in(module(*(torch.from_numpy(given[name]) for name in given.files)))]
        expected = [wanted[name] for name in wanted.files]
    for got, want in zip(found, expected, strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max() < TOLERANCE * np.abs(want).max()

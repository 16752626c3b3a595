"""A packed model comes home: the user's own Keras loads it by the loader alone, and computes what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coppice.formats import open_upload
from coppice.formats.packed.keras_files import write
from coppice.keras_layers.tree import tensors_in
from coppice.records.frameworks import Framework as Call
from coppice.records.request import Part, Request
from tests.dialects.files import DIALECTS, Dialect, Saved
from tests.packed.by_hand import BITS, task

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

TOLERANCE = 1e-4
#: The largest error of a rounding, of the largest weight: half a step of the grid, or of the last place of a half.
ROUNDED = {"int8": 0.5 / 127, "int4": 0.5 / 7, "int2": 1 / 3, "int1": 1, "float16": 2**-11, "bfloat16": 2**-8}

CASES = [
    *((dialect, "residual", "int2") for dialect in DIALECTS),
    *((dialect, "nested", "int4") for dialect in DIALECTS),
    *((Dialect("tf23", ".h5"), "documents", precision) for precision in ROUNDED),
    (Dialect("keras3", ".keras"), "separable", "bfloat16"),
    (Dialect("tf212", ".h5"), "two_sided", "int8"),
]


@pytest.mark.parametrize(("dialect", "model", "precision"), CASES, ids=lambda one: str(one))
def test_the_users_keras_loads_a_packed_model(saved: Saved, precision: str, out: Path, tmp_path: Path) -> None:
    request = Request(framework=Call.KERAS, percent=0.4, files={Part.MODEL: saved.upload.name})
    source = open_upload(request, {Part.MODEL: saved.upload})
    quantizing = task(source, precision, axis=-1)
    written = write(quantizing, out)
    file, loader = (out / artifact.file for artifact in written.artifacts)
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    answer = saved.framework.ask(
        "packed", file=file, loader=loader, original=saved.path, inputs=inputs, outputs=outputs
    )
    with torch.no_grad():
        wanted = tensors_in(quantizing.model.module(*(torch.from_numpy(one) for one in np.load(inputs).values())))
    for found, want in zip(np.load(outputs).values(), wanted, strict=True):
        assert np.abs(found - want.numpy()).max() < TOLERANCE * want.abs().max().item()
    assert all(answer["same"])
    assert max(answer["apart"]) <= ROUNDED[precision] * 1.01
    if precision in BITS:
        assert max(answer["values"]) <= 2 ** BITS[precision]
    assert answer["trained"]["moved"]

"""Every layer of the interpreter, in every way that it can be set, computes what the real one computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from coppice.formats import open_upload
from coppice.keras_layers.tree import tensors_in
from coppice.records.frameworks import Framework as Calls
from coppice.records.request import Part, Request
from tests.dialects.frameworks import Framework

pytestmark = [pytest.mark.dialects, pytest.mark.slow]

#: Keras 3 on torch counts padded positions in an average when the padding is uneven; on TensorFlow it doesn't.
UNEVEN_AVERAGES = {f"average-same-{strides}-{size}" for strides, size in ((1, 4), (2, 4), (3, 3), (3, 4))}
TOLERANCE = 1e-5


def difference(upload: Path, arrays: Path) -> float:
    """Largest difference from the stored outputs, relative to them where they are large."""
    request = Request(framework=Calls.KERAS, percent=0, files={Part.MODEL: upload.name})
    network = open_upload(request, {Part.MODEL: upload}).network
    assert network.notes == ()
    with np.load(arrays) as stored, torch.no_grad():
        inputs = [torch.from_numpy(stored[name]) for name in sorted(stored.files) if name.startswith("x")]
        wanted = [stored[name] for name in sorted(stored.files) if name.startswith("y")]
        found = [tensor.numpy() for tensor in tensors_in(network.module(*inputs))]
    assert [array.shape for array in found] == [array.shape for array in wanted]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1)) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(("environment", "suffix"), [("tf23", ".h5"), ("tf212", ".h5"), ("keras3", ".keras")])
def test_every_layer_computes_what_this_keras_computes(
    environment: str, suffix: str, frameworks: Callable[[str], Framework], tmp_path: Path
) -> None:
    written = set(frameworks(environment).ask("layers", folder=tmp_path, suffix=suffix)["written"])
    assert len(written) > 200
    cases = written - (UNEVEN_AVERAGES if environment == "keras3" else set())
    differences = {name: difference(tmp_path / f"{name}{suffix}", tmp_path / f"{name}.npz") for name in cases}
    assert {name: value for name, value in differences.items() if value > TOLERANCE} == {}

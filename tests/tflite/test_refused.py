"""What can't be written as `.tflite` is refused in words, before anything slow starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice.errors import CoppiceError, NotInstalled, PrecisionImpossible, SamplesMissing
from coppice.records.frameworks import Framework
from coppice.records.request import Part, Request, Task
from coppice.settings import litert_environment
from coppice.tasks import TASKS
from tests.keras.builders import Array
from tests.tflite import nets


def refused(folder: Path, images: Array | None, **asked: Any) -> CoppiceError:
    """The error of a job."""
    files = {Part.MODEL: nets.write_net_h5(folder / "net.h5")}
    if images is not None:
        files[Part.DATASET] = nets.write_samples(folder / "images.npz", images)
    named = {part: path.name for part, path in files.items()}
    with pytest.raises(CoppiceError) as failure:
        _send({"framework": Framework.KERAS, "task": Task.QUANTIZE, "files": named, **asked}, files, folder)
    assert not list(folder.glob("*.tflite"))
    return failure.value


def _send(request: dict[str, Any], files: dict[Part, Path], folder: Path) -> None:
    TASKS[Task.QUANTIZE](Request.model_validate(request), files, folder, lambda _: None)


def test_scales_of_activations_need_samples(tmp_path: Path) -> None:
    error = refused(tmp_path, None, precision="int8")
    assert isinstance(error, SamplesMissing)
    assert "activations=dynamic" in error.message


def test_samples_that_are_all_the_same_are_as_good_as_none(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path, np.full_like(nets.samples(), 0.5), precision="int8"), SamplesMissing)


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    images = np.full_like(nets.samples(), np.nan)
    assert refused(tmp_path, images, precision="int8").code in ("dataset_invalid", "samples_missing")


def test_two_bits_are_refused_with_the_nearest(tmp_path: Path) -> None:
    error = refused(tmp_path, None, precision="int2", output_format="tflite")
    assert isinstance(error, PrecisionImpossible)
    assert "int4" in error.message


def test_without_the_environment_the_job_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPPICE_LITERT", str(tmp_path / "nowhere"))
    assert litert_environment() is None
    error = refused(tmp_path, None, precision="int4")
    assert isinstance(error, NotInstalled)
    assert "scripts/dialects litert" in error.message
    assert "format=onnx" in error.message

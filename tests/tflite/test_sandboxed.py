"""A job that writes a `.tflite` file in the real sandbox, under the default limits: TensorFlow fits into them."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from coppice.records.frameworks import Framework
from coppice.records.report import Arithmetic, Report
from coppice.records.request import Part, Request, Task
from coppice.sandbox.opening import open_runner
from coppice.settings import Settings
from tests.sandbox.conftest import bubblewrap_missing
from tests.tflite import nets
from tests.tflite.runtime import needed

pytestmark = pytest.mark.slow


def test_a_job_writes_a_file_of_whole_numbers(tmp_path: Path) -> None:
    needed()
    folder = tmp_path / "job"
    files = {
        Part.MODEL: nets.write_net_h5(tmp_path / "net.h5"),
        Part.DATASET: nets.write_samples(tmp_path / "images.npz", nets.samples()),
    }
    for part, path in files.items():
        (folder / "in" / part).mkdir(parents=True)
        shutil.copy(path, folder / "in" / part / path.name)
    request = Request.model_validate(
        {
            "framework": Framework.KERAS,
            "task": Task.QUANTIZE,
            "files": {part: path.name for part, path in files.items()},
            "precision": "int8",
        }
    )
    (folder / "request.json").write_text(request.model_dump_json())
    (scratch := tmp_path / "scratch").mkdir()
    if reason := bubblewrap_missing():
        pytest.skip(reason)
    runner = open_runner(Settings(warm=0), scratch)
    try:
        report = asyncio.run(runner.run(folder, lambda _: None))
    finally:
        runner.close()
    assert isinstance(report, Report)
    assert report.quantized is not None
    assert report.quantized.arithmetic is Arithmetic.INTEGER
    assert (folder / "out" / "net_quantized.tflite").stat().st_size == report.quantized.file_bytes

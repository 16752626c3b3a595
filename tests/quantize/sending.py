"""Jobs that quantize: what a user sends, through the table of tasks, and the file that comes back in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from coppice.records.frameworks import Framework
from coppice.records.report import Report
from coppice.records.request import Part, Request, Task
from coppice.tasks import TASKS
from tests.formats.models import Model, upload

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The report of a job, and where its files are."""

    report: Report
    folder: Path

    @property
    def file(self) -> Path:
        """The quantized model."""
        return next(self.folder / found.file for found in self.report.artifacts if found.name == "quantized")

    def run(self, *inputs: Array) -> list[Array]:
        """What a stock ONNX Runtime gives for inputs in the order of the file."""
        session = onnxruntime.InferenceSession(self.file, providers=["CPUExecutionProvider"])
        named = zip((entry.name for entry in session.get_inputs()), inputs, strict=True)
        found: list[Array] = session.run(None, dict(named))
        return found


def send(folder: Path, framework: Framework, files: dict[Part, Path], **asked: Any) -> Sent:
    """Quantize files as a job does."""
    out = folder / "out"
    out.mkdir()
    named = {part: path.name for part, path in files.items()}
    request = Request.model_validate({"framework": framework, "task": Task.QUANTIZE, "files": named, **asked})
    report = TASKS[Task.QUANTIZE](request, files, out, lambda _: None)
    assert isinstance(report, Report)
    return Sent(report=report, folder=out)


def send_torch(folder: Path, source: str, name: str, shape: Any, **asked: Any) -> Sent:
    """A class file and a state dict; `weights_file` and `dataset` are what torch.save takes."""
    model = Model(source=source, name=name, input_size=shape)
    weights, dataset = asked.pop("weights_file", None), asked.pop("dataset", None)
    _, files = upload(folder, model, weights=weights, dataset=dataset)
    if isinstance(shape, tuple) and shape:
        asked["input_size"] = shape
    return send(folder, Framework.PYTORCH, files, model_name=name, **asked)


def send_onnx(folder: Path, model: onnx.ModelProto, samples: dict[str, Array] | None = None, **asked: Any) -> Sent:
    """An ONNX file, and arrays as samples."""
    path = folder / "model.onnx"
    onnx.save_model(model, path)
    files = {Part.MODEL: path}
    if samples is not None:
        files[Part.DATASET] = folder / "samples.npz"
        np.savez(files[Part.DATASET], **samples)  # type: ignore[arg-type]  # names are the caller's
    return send(folder, Framework.ONNX, files, **asked)


def loader(x: torch.Tensor, *more: torch.Tensor) -> DataLoader[Any]:
    """A sample DataLoader as users save it; with labels of three classes where nothing else is given."""
    return DataLoader(TensorDataset(x, *(more or (torch.arange(len(x)) % 3,))), batch_size=8)

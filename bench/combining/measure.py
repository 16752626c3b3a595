"""One line of the results: a model cut or whole, in one precision and one kind of file, as its user meets it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.combining.models import MODELS, RUNTIMES, Entry
from coppice.records.quantization import Format
from coppice.records.report import Report
from coppice.records.request import Part, Request, Task
from coppice.tasks import TASKS

Row = dict[str, Any]
#: What the files of a kind are timed against: the original, as that kind of file in floats.
_ORIGINAL = {Format.ONNX: "float32", Format.TFLITE: "float16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked of one model: how much goes, and what is left in which precision and kind of file."""

    model: str
    percent: float
    precision: str  # "float32": as the cut leaves it
    kind: Format

    @property
    def key(self) -> tuple[str, float, str, str]:
        """By which its line is found again."""
        return (self.model, self.percent, self.precision, str(self.kind))

    def folder(self, cache: Path) -> Path:
        """Where the files of its job stay, so that others can be timed against them."""
        return cache / "results" / "-".join(map(str, self.key))


def row(case: Case, folder: Path, cache: Path) -> Row:
    """Run one job on the files of `folder` and measure its result."""
    entry = MODELS[case.model]
    start = time.perf_counter()
    report, file = _made(case, folder, cache)
    seconds = time.perf_counter() - start
    original = Case(model=case.model, percent=0.0, precision=_ORIGINAL[case.kind], kind=case.kind)
    _, other = (report, file) if original == case else _made(original, folder, cache)
    sent = folder / entry.files.get(Part.WEIGHTS, entry.files.get(Part.MODEL, ""))
    return {
        "model": case.model,
        "percent": case.percent,
        "precision": case.precision,
        "format": str(case.kind),
        "dense": entry.job.accuracy(folder),
        "original_bytes": sent.stat().st_size,
        "bytes": file.stat().st_size,
        "seconds": round(seconds, 1),
        **_ran(case.kind, file, folder / "images.npz", other),
        **_told(report),
    }


def _made(case: Case, folder: Path, cache: Path) -> tuple[Report, Path]:
    """The report of a job and the file that it is about; each job runs once for one state of the files."""
    out = case.folder(cache)
    told = out / "report.json"
    if not told.exists():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        entry = MODELS[case.model]
        request = _request(case, entry)
        TASKS[request.task](request, {part: folder / name for part, name in entry.files.items()}, out, lambda _: None)
    report = Report.model_validate_json(told.read_text())
    name = "onnx" if case.precision == "float32" else "quantized"
    return report, out / next(artifact.file for artifact in report.artifacts if artifact.name == name)


def _request(case: Case, entry: Entry) -> Request:
    floats = case.precision == "float32"
    asked: dict[str, Any] = {} if floats else {"precision": case.precision, "output_format": case.kind}
    task = Task.PRUNE if case.percent or floats else Task.QUANTIZE
    given = {"framework": entry.framework, "task": task, "files": entry.files, **entry.asked, **asked}
    return Request.model_validate(given if task is Task.QUANTIZE else given | {"percent": case.percent})


def _ran(kind: Format, file: Path, images: Path, other: Path) -> Row:
    runtime = RUNTIMES[kind]
    script = Path(__file__).parent / runtime.script
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(runtime.python), str(script), str(file), str(images), str(other)]
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    told: Row = json.loads(found.stdout.splitlines()[-1])
    return told


def _told(report: Report) -> Row:
    """What the job itself says of its file."""
    found = report.quantized
    if found is None:
        return {}
    latency, before = found.latency_ms, found.float_latency_ms
    return {
        "arithmetic": str(found.arithmetic),
        "snr_db": found.snr_db,
        "float_bytes": found.float_file_bytes,
        "told_ratio": latency / before if latency is not None and before is not None else None,
    }

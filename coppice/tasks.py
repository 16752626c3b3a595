"""What a job of each task runs: one table for the sandbox's child and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from coppice import pipeline, sweeping
from coppice.records.report import Account, Tell
from coppice.records.request import Part, Request, Task

#: `(request, files, folder for the artifacts, where progress is told) -> account`.
TASKS: Mapping[Task, Callable[[Request, Mapping[Part, Path], Path, Tell], Account]] = {
    Task.PRUNE: pipeline.run,
    Task.INSPECT: pipeline.inspect,
    Task.SWEEP: sweeping.run,
    Task.QUANTIZE: pipeline.quantize,
}

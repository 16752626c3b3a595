"""The one place where the command line calls the engine, on this machine and on the user's own files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from coppice.records.report import Inspection, Progress, Report
from coppice.records.request import Part, Request

# The engine is imported when it is used: torch takes seconds, and `coppice keys list` has no use for it.


def prune(request: Request, files: Mapping[Part, Path], out: Path, progress: Callable[[Progress], None]) -> Report:
    """Run the pipeline; the artifacts are in `out` afterwards."""
    progress(Progress(step="start", fraction=0, detail="loading torch"))
    from coppice import pipeline

    # What the model's own code prints must not mix with `--json`.
    with redirect_stdout(sys.stderr):
        return pipeline.run(request, files, out, progress)


def inspect(request: Request, files: Mapping[Part, Path], progress: Callable[[Progress], None]) -> Inspection:
    """Find the groups, without pruning."""
    progress(Progress(step="start", fraction=0, detail="loading torch"))
    from coppice import pipeline

    with redirect_stdout(sys.stderr), TemporaryDirectory(prefix="coppice-") as folder:
        return pipeline.inspect(request, files, Path(folder), progress)

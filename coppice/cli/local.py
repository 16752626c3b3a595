"""The one place where the command line calls the engine, on this machine and on the user's own files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

from coppice import extras
from coppice.records.report import Account, Progress
from coppice.records.request import Part, Request

# The engine is imported when it is used: torch takes seconds, and `coppice keys list` has no use for it.


def run(request: Request, files: Mapping[Part, Path], out: Path, progress: Callable[[Progress], None]) -> Account:
    """Run the job of the request's task; its artifacts are in `out` afterwards."""
    progress(Progress(step="start", fraction=0, detail="loading torch"))
    with extras.explained():
        from coppice import tasks

    # What the model's own code prints must not mix with `--json`.
    with redirect_stdout(sys.stderr):
        return tasks.TASKS[request.task](request, files, out, progress)

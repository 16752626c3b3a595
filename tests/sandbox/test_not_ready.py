"""A process that does not get ready, and a job's own limit of time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coppice.errors import InternalError, TimeLimit

from .conftest import PROLOGUE, Lab
from .test_endings import leaving


def ready_at(start: int, log: Path) -> str:
    """What makes a job's process end before it is ready, but for its start of this number."""
    return f"""
with open({str(log)!r}, "a") as log:
    log.write("x")
if len(open({str(log)!r}).read()) < {start}:
    raise SystemExit(1)
{PROLOGUE}
assert (box / "in" / "model" / "model.h5").read_bytes() == b"the upload"
"""


def test_a_job_whose_process_does_not_get_ready_gets_another(lab: Lab, tmp_path: Path) -> None:
    lab.isolation = "none"  # its script has to count how often it was started
    folder = lab.folder()
    lab.run(leaving("model.h5"), folder=folder, prologue=ready_at(3, tmp_path / "starts"))
    assert (folder / "out" / "model.h5").read_text() == "contents of model.h5"


def test_a_job_whose_process_never_gets_ready_ends(lab: Lab, tmp_path: Path) -> None:
    lab.isolation = "none"
    with pytest.raises(InternalError, match="did not start"):
        lab.run(leaving("model.h5"), prologue=ready_at(99, tmp_path / "starts"))
    assert (tmp_path / "starts").read_text() == "xxx"


@pytest.mark.parametrize(("service", "job"), [(20, 1), (1, 20)])
def test_the_smaller_limit_of_time_ends_a_job(lab: Lab, service: int, job: int) -> None:
    runner = lab.runner("import time; time.sleep(60)", job_seconds=service)
    with pytest.raises(TimeLimit):
        asyncio.run(runner.run(lab.folder(), lambda _: None, seconds=job))

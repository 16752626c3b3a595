"""Where a job stands, as the service answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coppice.client.connection import refusal
from coppice.errors import JobCrashed
from coppice.records.report import Progress

#: The status numbers of the contract.
DONE, QUEUED, RUNNING = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One answer of `/api/status/`."""

    number: int
    message: str
    progress: Progress | None = None

    @property
    def done(self) -> bool:
        """Whether the job's results are there."""
        return self.number == DONE

    @property
    def now(self) -> Progress:
        """What to show of a job that has not ended."""
        step = "queued" if self.number == QUEUED else "running"
        return self.progress or Progress(step=step, fraction=0, detail=self.message[:500])


def read_status(body: Mapping[str, Any]) -> Status:
    """Read an answer; raises the job's own error when it has failed."""
    number = int(body["status"])
    if number < 0:
        raise refusal(body, JobCrashed)
    progress = body.get("progress")
    return Status(
        number=number,
        message=str(body.get("message", "")),
        progress=Progress.model_validate(progress) if progress else None,
    )

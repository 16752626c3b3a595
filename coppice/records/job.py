"""A job as the service shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from coppice.records.frameworks import Framework
from coppice.records.report import Artifact, Failure, Progress
from coppice.records.request import Record, Request, Task
from coppice.records.terms import Terms


class JobState(StrEnum):
    """Where a job stands. Derived from the queue's own status, never stored beside it."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of the job."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class StoredArtifact(Record):
    """One downloadable file of a finished job."""

    artifact: Artifact
    key: str
    size: int
    sha256: str


class Glance(Record):
    """As much of a job as changes while somebody watches it."""

    state: JobState
    progress: Progress | None = None


class Job(Record):
    """Everything that the service knows of one transaction."""

    txid: str
    client: str
    request: Request
    state: JobState
    submitted: datetime
    finished: datetime | None = None
    expires: datetime | None = None  # when the files of a done one are deleted
    progress: Progress | None = None
    place: int | None = None
    unattended: bool = False  # no worker of its queue is alive
    failure: Failure | None = None
    summary: str | None = None
    filename: str | None = None
    artifacts: tuple[StoredArtifact, ...] = ()

    @property
    def glance(self) -> Glance:
        """What of it changes."""
        return Glance(state=self.state, progress=self.progress)


class Wanted(Record):
    """Which of a client's jobs to list."""

    txid: str | None = None
    state: JobState | None = None
    task: Task | None = None
    framework: Framework | None = None
    since: datetime | None = None
    before: int | None = None  # the number that the row of the last page had which was listed last
    limit: int


class Entry(Record):
    """A job as a list shows it."""

    txid: str
    number: int  # in the order of acceptance
    request: Request
    terms: Terms
    state: JobState
    submitted: datetime
    finished: datetime | None = None
    progress: Progress | None = None
    filename: str | None = None
    code: str | None = None
    stored_bytes: int

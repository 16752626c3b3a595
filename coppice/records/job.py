"""A job as the service shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from coppice.records.report import Artifact, Failure, Progress
from coppice.records.request import Record, Request


class JobState(StrEnum):
    """Where a job stands. Derived from the queue's own status, never stored beside it."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class StoredArtifact(Record):
    """One downloadable file of a finished job."""

    artifact: Artifact
    key: str
    size: int
    sha256: str


class Job(Record):
    """Everything that the service knows of one transaction."""

    txid: str
    client: str
    request: Request
    state: JobState
    submitted: datetime
    finished: datetime | None = None
    progress: Progress | None = None
    place: int | None = None
    failure: Failure | None = None
    summary: str | None = None
    filename: str | None = None
    artifacts: tuple[StoredArtifact, ...] = ()

"""A job in the list of a client's jobs: as a service answers it, and as its client gives it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from coppice.records.job import JobState
from coppice.records.report import Progress
from coppice.records.request import Part
from coppice.records.terms import Priority


class Listed(BaseModel):
    """A job in a list. A client may meet more fields, of a service that is newer."""

    model_config = ConfigDict(frozen=True)

    txid: str = Field(description="Transaction id.", examples=["cf06e766-2d20-41ec-931e-0242ac170002"])
    state: JobState = Field(description="Its state as a word.")
    status: int = Field(description="The same as the number that `status` answers.", examples=[0])
    call: str = Field(description="The call that sent it.", examples=["tf_prune"])
    submitted: datetime = Field(description="When it was sent.")
    finished: datetime | None = Field(default=None, description="When it ended; only when it has.")
    progress: Progress | None = Field(default=None, description="The step as data; only while running.")
    filename: str | None = Field(default=None, description="Name of the result; only when done.", examples=["lenet.h5"])
    code: str | None = Field(default=None, description="The reason as a stable word; only when failed.")
    stored_bytes: int = Field(description="Bytes of its files, as far as they are counted by now.", examples=[1234])
    queue: str = Field(description="The workers that run it.", examples=["cpu"])
    priority: Priority = Field(description="Its place among the jobs of its client.")
    parameters: dict[str, str] = Field(
        description="What it was asked for, by the names of the call, without what is so by itself.",
        examples=[{"percent": "0.4"}],
    )
    files: dict[Part, str] = Field(description="Part -> name of its file.", examples=[{"model": "lenet.h5"}])

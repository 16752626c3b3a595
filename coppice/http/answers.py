"""What the calls answer: the one place that turns a job, or an error, into a body.

The second document shows the status as a string in its status call, and as a number everywhere else. Here is where
that is known, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from coppice.errors import CoppiceError, KeyInvalid, ResultExpired, TooManyRequests, kind_of
from coppice.http.admission import RETRY_SECONDS
from coppice.http.intake import INTAKES
from coppice.records.call import call_of as call_of_request
from coppice.records.call import parameters_of
from coppice.records.job import Entry, Job, JobState
from coppice.records.listed import Listed
from coppice.records.report import Progress

#: The prefix of the second document, in front of the first document's addresses.
HUB = "/edgeai/run"

NUMBERS: Mapping[JobState, int] = {
    JobState.DONE: 0,
    JobState.QUEUED: 1,
    JobState.RUNNING: 2,
    JobState.FAILED: -1,
    JobState.CANCELLED: -2,
    JobState.EXPIRED: -1,
}

#: States in which there is nothing to download -> HTTP status of the attempt.
NOT_DOWNLOADABLE: Mapping[JobState, int] = {
    JobState.QUEUED: 409,
    JobState.RUNNING: 409,
    JobState.FAILED: 409,
    JobState.CANCELLED: 409,
    JobState.EXPIRED: 410,
}

_HEADERS: Mapping[type[CoppiceError], Mapping[str, str]] = {
    TooManyRequests: {"Retry-After": str(RETRY_SECONDS)},
    KeyInvalid: {"WWW-Authenticate": "X-IBM-Client-Id"},
}


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Submitted(_Answer):
    """An accepted job."""

    txid: str = Field(
        description="Transaction id: keep it for `status` and `download`.",
        examples=["cf06e766-2d20-41ec-931e-0242ac170002"],
    )
    message: str = Field(default="Successfully submitted transaction.", description="That it was accepted.")


class Jobs(_Answer):
    """A page of a client's jobs, newest first."""

    jobs: tuple[Listed, ...] = Field(description="The jobs.")
    next: str | None = Field(default=None, description="`after` of the next page; only where there is one.")


class Deleted(_Answer):
    """A job that is forgotten."""

    txid: str = Field(description="Transaction id, unknown from now on.")
    message: str = Field(default="The job and all its files were deleted.", description="That it was done.")


class _Refusal(_Answer):
    message: str = Field(description="What happened, where, and what to do.")
    code: str = Field(description="The same for machines; stable.", examples=["percent_out_of_range"])
    field: str | None = Field(default=None, description="Parameter, part or layer at fault, where there is one.")
    cause: str = Field(description="How a caller comes to an error of this code.")
    remedy: str = Field(description="What can be done about it.")
    link: str = Field(description="The page of this code, on this service.", examples=["/docs/errors/unknown_layer"])


class _NoTransaction(_Answer):
    txid: str = Field(default="N/A", description="`N/A`: there is no transaction.", examples=["N/A"])


class _Numbered(_Answer):
    status: int = Field(default=-1, description="The job's number; -1 where there is no such job.", examples=[-1])


# The bases that come last give the fields that are shown first.
class UploadRefused(_Refusal, _NoTransaction):
    """A call that sent a model and was refused."""


class CallRefused(_Refusal, _Numbered):
    """A `status` or `download` call that has nothing to show."""


class Status(_Answer):
    """Where a job stands."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": 0, "message": "Total params: 596,042", "filename": "tmpqpj73q22.pt"}}
    )

    status: int = Field(
        description="0 done, 1 queued, 2 running, -1 failed, -2 cancelled. A string under `/edgeai/run`.", examples=[0]
    )
    message: str = Field(
        description="Done: the layers of the pruned model, before them what became of it in fewer bits where that was "
        "asked; or what could be pruned of an inspected one, or the curve of a sweep. Queued: the place in the queue. "
        "Running: the step and how far it is. Failed: what went wrong and what to do. Cancelled: by whom and when."
    )
    filename: str | None = Field(default=None, description="Name of the result; only when done.", examples=["lenet.h5"])
    progress: Progress | None = Field(default=None, description="The step as data; only while running.")
    code: str | None = Field(default=None, description="The reason as a stable word; only when failed.")
    field: str | None = Field(default=None, description="Parameter, part or layer at fault, where there is one.")
    remedy: str | None = Field(default=None, description="What can be done about it; only when failed.")
    link: str | None = Field(default=None, description="The page of the reason, on this service; only when failed.")


def status(job: Job) -> Status:
    """The status of a job."""
    code = _code(job)
    kind = None if code is None else kind_of(code)
    return Status(
        status=NUMBERS[job.state],
        message=_MESSAGES[job.state](job),
        filename=job.filename if job.state is JobState.DONE else None,
        progress=job.progress if job.state is JobState.RUNNING else None,
        code=code,
        field=job.failure.field if job.failure else None,
        remedy=None if kind is None else kind.remedy,
        link=None if kind is None else kind.link(),
    )


def listed(entry: Entry) -> Listed:
    """A job in a list."""
    return Listed(
        txid=entry.txid,
        state=entry.state,
        status=NUMBERS[entry.state],
        call=call_of_request(entry.request),
        submitted=entry.submitted,
        finished=entry.finished,
        progress=entry.progress,
        filename=entry.filename,
        code=ResultExpired.code if entry.state is JobState.EXPIRED else entry.code,
        stored_bytes=entry.stored_bytes,
        queue=entry.terms.queue,
        priority=entry.terms.priority,
        parameters=parameters_of(entry.request),
        files=entry.request.files,
    )


def body(answer: BaseModel, path: str) -> dict[str, Any]:
    """An answer as the call at `path` spells it."""
    shown = answer.model_dump(mode="json", exclude_none=True)
    if "status" in shown and call_of(path) == "status" and path.startswith(HUB):
        shown["status"] = str(shown["status"])
    return shown


def failure(error: CoppiceError, path: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error in the shape of the call's own failures.

    No fields mask is applied: as in Flask-RESTX it is for what was asked, and must not hide why it was refused.
    """
    kind = UploadRefused if call_of(path) in INTAKES else CallRefused
    answer = kind(**error.as_dict())
    return JSONResponse(
        body(answer, path), error.http_status, headers={**_HEADERS.get(type(error), {}), **(headers or {})}
    )


def call_of(path: str) -> str:
    """The call that an address stands for, whatever its prefix: `status` of `/edgeai/run/api/status/`."""
    return path.removeprefix(HUB).removeprefix("/api").strip("/")


def _code(job: Job) -> str | None:
    if job.state is JobState.FAILED and job.failure:
        return job.failure.code
    return ResultExpired.code if job.state is JobState.EXPIRED else None


def _queued(job: Job) -> str:
    waits = "Queued." if job.place is None else f"Queued: place {job.place}."
    if not job.unattended:
        return waits
    return f"{waits} No worker of its queue is running at the moment; it starts as soon as there is one."


def _running(job: Job) -> str:
    if job.progress is None:
        return "Running: starting."
    step = f"Running: {job.progress.step}, {job.progress.fraction:.0%} of the job"
    return f"{step}: {job.progress.detail}" if job.progress.detail else f"{step}."


def _failed(job: Job) -> str:
    return job.failure.message if job.failure else "The job failed."


def _cancelled(job: Job) -> str:
    when = f", {job.finished:%Y-%m-%d %H:%M:%S} UTC" if job.finished else ""
    return f"Cancelled by {job.client}{when}. Send the job again to run it."


_MESSAGES: Mapping[JobState, Callable[[Job], str]] = {
    JobState.DONE: lambda job: job.summary or "Done.",
    JobState.QUEUED: _queued,
    JobState.RUNNING: _running,
    JobState.FAILED: _failed,
    JobState.CANCELLED: _cancelled,
    JobState.EXPIRED: lambda _job: "The result is past its retention and was deleted. Send the job again.",
}

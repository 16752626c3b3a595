"""An artifact of a finished job as an answer. What comes out of a job is bytes here, never opened.

The bytes go through the service chunk by chunk, each asked for when the last was taken, or the client is sent to where
the store gives them itself. Not here: which part was asked for (`http.ranges`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from coppice.errors import RangeImpossible, ResultExpired, ResultNotReady, UnknownArtifact, kind_of
from coppice.http import answers, ranges
from coppice.records.accounts import RESULTS
from coppice.records.job import Job, JobState, StoredArtifact
from coppice.storage import Label, Storage


async def download(http: Request, job: Job, name: str, storage: Storage) -> Response:
    """The artifact `name` of `job`, by default its result, or the refusal that its state means.

    Raises UnknownArtifact, ResultExpired.
    """
    if job.state is not JobState.DONE:
        return _nothing_yet(job, http.url.path)
    result = RESULTS[job.request.task]
    name = name or result
    by_name = {stored.artifact.name: stored for stored in job.artifacts}
    stored = by_name.get(name)
    if stored is None:
        raise UnknownArtifact(
            f"The result has no artifact {name[:100]!r}. It has {', '.join(by_name)}.", field="artifact"
        )
    file = (job.filename if name == result else None) or stored.artifact.file
    known = _validators(job, stored)
    if ranges.has_all(http.headers, known["ETag"], known["Last-Modified"]):
        return Response(status_code=304, headers=known)
    label = Label(file=file, media_type=stored.artifact.media_type)
    try:
        return await _answer(http, stored, {**known, **label.headers, **_SAFE}, storage)
    except FileNotFoundError as e:
        raise ResultExpired("The result is past its retention and was deleted. Send the job again.") from e


async def _answer(http: Request, stored: StoredArtifact, headers: dict[str, str], storage: Storage) -> Response:
    if http.method == "HEAD":
        size = await storage.size(stored.key)
        return Response(headers={**headers, "Content-Length": str(size)})
    part = None
    if "range" in http.headers and ranges.holds(http.headers, headers["ETag"], headers["Last-Modified"]):
        try:
            part = ranges.wanted(http.headers["range"], stored.size)
        except RangeImpossible as e:
            return answers.failure(e, http.url.path, {"Content-Range": f"bytes */{stored.size}"})
    elif (address := await storage.address(stored.key)) is not None:
        await storage.size(stored.key)  # what is not there is refused here, not by the store, in its own words
        # The address works for minutes, so the answer must not be kept for as long as the file.
        return Response(status_code=307, headers={"Location": address, "ETag": headers["ETag"]})
    if part is None:
        found = await storage.get(stored.key)
        return StreamingResponse(found.chunks, headers={**headers, "Content-Length": str(found.size)})
    found = await storage.get(stored.key, part.start, part.stop)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{stored.size}"
    return StreamingResponse(found.chunks, 206, headers={**headers, "Content-Length": str(found.size)})


def _nothing_yet(job: Job, path: str) -> JSONResponse:
    status = answers.status(job)
    code = status.code or ResultNotReady.code
    kind = kind_of(code)
    refused = answers.CallRefused(
        status=status.status,
        message=status.message,
        code=code,
        field=status.field,
        cause=kind.cause,
        remedy=kind.remedy,
        link=kind.link(),
    )
    return JSONResponse(answers.body(refused, path), answers.NOT_DOWNLOADABLE[job.state])


def _validators(job: Job, stored: StoredArtifact) -> dict[str, str]:
    left = (job.expires - datetime.now(UTC)).total_seconds() if job.expires else 0
    return {
        "ETag": f'"{stored.sha256}"',
        "Last-Modified": format_datetime((job.finished or job.submitted).astimezone(UTC), usegmt=True),
        "Cache-Control": f"private, max-age={max(0, int(left))}",
        "Accept-Ranges": "bytes",
    }


#: Opened in a browser as a page, it would be a page of this origin; it has styles of its own, and nothing else.
_SAFE = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}

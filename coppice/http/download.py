"""An artifact of a finished job as a streamed answer. What comes out of a job is bytes here, never opened."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from coppice.errors import ResultExpired, ResultNotReady, UnknownArtifact
from coppice.http import answers
from coppice.records.accounts import RESULTS
from coppice.records.job import Job, JobState, StoredArtifact
from coppice.storage import Storage

_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")


async def download(http: Request, job: Job, name: str, storage: Storage) -> Response:
    """The artifact `name` of `job`, by default its result, or the refusal that its state means.

    Raises UnknownArtifact.
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
    headers = _headers(stored, (job.filename if name == result else None) or stored.artifact.file)
    if headers["ETag"] in http.headers.get("if-none-match", "").split(", "):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    try:
        found = await storage.get(stored.key)
    except FileNotFoundError as e:
        raise ResultExpired("The result is past its retention and was deleted. Send the job again.") from e
    return StreamingResponse(found.chunks, headers={**headers, "Content-Length": str(found.size)})


def _nothing_yet(job: Job, path: str) -> JSONResponse:
    status = answers.status(job)
    refused = answers.CallRefused(
        status=status.status,
        message=status.message,
        code=ResultExpired.code if job.state is JobState.EXPIRED else status.code or ResultNotReady.code,
        field=status.field,
    )
    return JSONResponse(answers.body(refused, path), answers.NOT_DOWNLOADABLE[job.state])


def _headers(stored: StoredArtifact, file: str) -> dict[str, str]:
    # The type was chosen inside the sandbox, next to the user's code: it goes out only in the shape of one.
    kind = stored.artifact.media_type
    return {
        "Content-Type": kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{file}"',
        "ETag": f'"{stored.sha256}"',
        # Opened in a browser as a page, it would be a page of this origin; it has styles of its own, and nothing else.
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    }

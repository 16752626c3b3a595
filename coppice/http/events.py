"""Waiting for a job's end, and its progress as server-sent events (the HTML standard, section 9.2).

    id: 3f0c9a1be2d47a55
    event: status
    data: {"status": 2, "message": "Running: score, 40% of the job.", ...}

Not here: who looks at the database (`http.watching`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from coppice.errors import CoppiceError, DatabaseUnavailable, ParameterInvalid, UnknownTransaction
from coppice.http import answers
from coppice.http.admission import Admission
from coppice.http.mask import Mask
from coppice.http.watching import Watch
from coppice.jobs.desk import Desk
from coppice.records.job import Job

#: The longest that a call for a status may wait, seconds: proxies give up a silent connection after a minute or so.
MAX_WAIT = 60
#: Silence after which a stream says that it is still there, seconds. The standard advises this number.
KEEP_ALIVE_SECONDS = 15.0
#: How many calls of one client may wait at once, streams included.
PER_CLIENT = 64
#: What a browser waits before it opens a broken stream again, milliseconds.
_RETRY_MS = 2000


def read_wait(text: str) -> float:
    """Read `wait`, seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT:
        raise ParameterInvalid(f"wait={text[:100]!r} is no number of seconds from 0 to {MAX_WAIT}.", field="wait")
    return seconds


async def ended(http: Request, desk: Desk, watch: Watch, job: Job, seconds: float) -> Job:
    """The job when it has ended, or as it stands after so many seconds; sooner where its client is gone."""
    look = partial(desk.job, job.txid, job.client)
    gone, end = asyncio.create_task(_gone(http)), time.monotonic() + seconds
    try:
        while not job.state.ended and (left := end - time.monotonic()) > 0 and not watch.stopping:
            change = asyncio.create_task(watch.change(job.txid, job.glance, left))
            await asyncio.wait({change, gone}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            if gone.done():
                return job
            job = await asyncio.to_thread(look)
    finally:
        gone.cancel()
    return job


async def _gone(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


class Events(StreamingResponse):
    """The stream of one job, for as long as its client listens and the job has not ended."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], admission: Admission, client: str) -> None:
        # Proxies that collect an answer before they pass it on would keep all events to the last one.
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._slot = partial(admission.slot, client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; raises TooManyRequests before its first byte."""
        with self._slot():
            await super().__call__(scope, receive, send)


def stream(http: Request, desk: Desk, watch: Watch, job: Job, admission: Admission, fields: Mask) -> Response:
    """A job's events. To a client that has the last one of a job that ended: none, which ends its attempts."""
    path = http.url.path
    shown = _Shown(lambda answer: fields.apply(answers.body(answer, path)), http.headers.get("last-event-id"))
    first = shown.event(answers.status(job))
    if first is None and job.state.ended:
        return Response(status_code=204)
    return Events(_events(desk, watch, job, first, shown), admission, job.client)


_Answer: TypeAlias = answers.Status | answers.CallRefused


class _Shown:
    """Turns what is answered of a job into events, each once."""

    def __init__(self, body: Callable[[_Answer], Mapping[str, Any]], last: str | None) -> None:
        self._body = body
        self._last = last

    def event(self, answer: _Answer) -> bytes | None:
        """The event, or None where it says what the last one said."""
        data = json.dumps(self._body(answer))
        number = hashlib.sha256(data.encode()).hexdigest()[:16]
        if number == self._last:
            return None
        self._last = number
        return f"id: {number}\nevent: status\ndata: {data}\n\n".encode()


async def _events(desk: Desk, watch: Watch, job: Job, event: bytes | None, shown: _Shown) -> AsyncIterator[bytes]:
    look = partial(desk.job, job.txid, job.client)
    yield f"retry: {_RETRY_MS}\n\n".encode()
    while True:
        yield event or b": still there\n\n"
        if job.state.ended or watch.stopping:
            return
        await watch.change(job.txid, job.glance, KEEP_ALIVE_SECONDS)
        try:
            # Whether it changed or not: the place in the queue is no part of what is watched.
            job = await asyncio.to_thread(look)
        except UnknownTransaction as e:  # deleted meanwhile
            yield shown.event(_refused(e)) or b""
            return
        except (SQLAlchemyError, DatabaseUnavailable):
            event = None
            continue
        event = shown.event(answers.status(job))


def _refused(error: CoppiceError) -> answers.CallRefused:
    return answers.CallRefused(**error.as_dict())

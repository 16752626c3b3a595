"""The calls: each reads what it needs, asks jobs or storage, and answers. Under both prefixes, with and without slash.

Not here: the upload itself (`http.upload`), the bodies (`http.answers`), the page that describes them (`http.docs`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from coppice.errors import ParameterMissing
from coppice.http import answers, mask
from coppice.http.admission import Admission
from coppice.http.auth import Gate
from coppice.http.docs import describe
from coppice.http.download import download
from coppice.http.events import ended, read_wait, stream
from coppice.http.idempotency import REPLAYED
from coppice.http.intake import INTAKES, Intake
from coppice.http.listing import AFTER, FILTERS, listed
from coppice.http.names import unknown_name
from coppice.http.upload import Uploads
from coppice.http.watching import Watch
from coppice.http.witness import note_txid
from coppice.jobs.desk import Desk
from coppice.storage import Storage, job_prefixes

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

#: The calls: HTTP method, and the address as the documents spell it.
ADDRESSES: Mapping[str, tuple[str, str]] = {
    **{call: ("POST", f"/api/{call}") for call in INTAKES},
    "status": ("GET", "/api/status/"),
    "download": ("GET", "/api/download"),
    "cancel": ("POST", "/api/cancel"),
    "events": ("GET", "/api/events"),
    "jobs": ("GET", "/api/jobs"),
    "delete": ("POST", "/api/delete"),
    "delete_job": ("DELETE", "/api/jobs"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The handlers, with what they stand on."""

    desk: Desk
    storage: Storage
    gate: Gate
    uploads: Uploads
    admission: Admission
    watch: Watch
    #: Calls that wait for a job.
    waiting: Admission

    def taking(self, intake: Intake) -> Handler:
        """The handler of a call that takes a model."""

        async def take(http: Request) -> Response:
            client = await self.gate.client(http)
            fields = mask.parse(http.headers.get("x-fields"))
            with self.admission.slot(client):
                accepted = await self.uploads.accept(http, intake, client)
            note_txid(http, accepted.txid)
            answer = _answer(http, answers.Submitted(txid=accepted.txid), fields)
            if accepted.replayed:
                answer.headers[REPLAYED] = "true"
            return answer

        return take

    async def status(self, http: Request) -> Response:
        """Ask again until the status is 0 (done) or negative (failed, cancelled), or let the call `wait` for that."""
        client = await self.gate.client(http)
        fields = mask.parse(http.headers.get("x-fields"))
        given = _query(http, "status", "txid", wait="0")
        seconds = read_wait(given["wait"])
        job = await asyncio.to_thread(self.desk.job, given["txid"], client)
        if seconds and not job.state.ended:
            with self.waiting.slot(client):
                job = await ended(http, self.desk, self.watch, job, seconds)
        return _answer(http, answers.status(job), fields)

    async def events(self, http: Request) -> Response:
        """Each event holds what `status` answers, and is sent when that changes; the stream ends with the job."""
        client = await self.gate.client(http)
        fields = mask.parse(http.headers.get("x-fields"))
        job = await asyncio.to_thread(self.desk.job, _query(http, "events", "txid")["txid"], client)
        return stream(http, self.desk, self.watch, job, self.waiting, fields)

    async def jobs(self, http: Request) -> Response:
        """Your own jobs, newest first, page by page, for as long as the service remembers them."""
        client = await self.gate.client(http)
        fields = mask.parse(http.headers.get("x-fields"))
        given = _query(http, "jobs", **{one.name: "" for one in FILTERS}, **{AFTER: ""})
        return _answer(http, await asyncio.to_thread(listed, self.desk, client, given), fields)

    async def download(self, http: Request) -> Response:
        """The file of a finished job, under its own name."""
        client = await self.gate.client(http)
        given = _query(http, "download", "txid", artifact="")
        job = await asyncio.to_thread(self.desk.job, given["txid"], client)
        return await download(http, job, given["artifact"], self.storage)

    async def cancel(self, http: Request) -> Response:
        """Take a job off the queue, or stop it where it is; one that has ended stays as it is."""
        client = await self.gate.client(http)
        fields = mask.parse(http.headers.get("x-fields"))
        txid = _query(http, "cancel", "txid")["txid"]
        await asyncio.to_thread(self.desk.cancel, txid, client)
        return _answer(http, answers.status(await asyncio.to_thread(self.desk.job, txid, client)), fields)

    async def delete(self, http: Request) -> Response:
        """Stop a job where it has not ended, and forget it with all its files; its `txid` is unknown afterwards."""
        client = await self.gate.client(http)
        fields = mask.parse(http.headers.get("x-fields"))
        txid = _query(http, "delete", "txid")["txid"]
        await asyncio.to_thread(self.desk.delete, txid, client)
        for prefix in job_prefixes(txid):
            await self.storage.delete_prefix(prefix)
        return _answer(http, answers.Deleted(txid=txid), fields)

    #: The same for those who prefer the method to say it.
    delete_job = delete


def add_calls(app: FastAPI, calls: Calls) -> None:
    """Every call under every address. The page shows one of each, with both prefixes as servers."""
    for call, (method, path) in ADDRESSES.items():
        handler: Handler = calls.taking(INTAKES[call]) if call in INTAKES else getattr(calls, call)
        app.add_api_route(path, handler, methods=[method], response_model=None, **describe(call))
        # The same to callers, and HEAD where there is GET; described, they would only take the service longer to start.
        for address in _spellings(path):
            app.add_route(address, handler, methods=[method], include_in_schema=False)


def _spellings(path: str) -> Iterator[str]:
    for prefix in ("", answers.HUB):
        yield from (f"{prefix}{path.rstrip('/')}", f"{prefix}{path.rstrip('/')}/")


def _answer(http: Request, answer: BaseModel, fields: mask.Mask) -> JSONResponse:
    return JSONResponse(fields.apply(answers.body(answer, http.url.path)))


def _query(http: Request, call: str, *required: str, **optional: str) -> dict[str, str]:
    """The parameters of a call that has no body; refuses what the call doesn't know, naming the nearest."""
    known = (*required, *optional)
    values = dict(optional)
    for name, text in http.query_params.multi_items():
        if name not in known:
            raise unknown_name(call, name, "parameter", known)
        values[name] = text.strip() or values.get(name, "")
    for name in required:
        if not values.get(name):
            raise ParameterMissing(f"{name} is missing. Add ?{name}=... to the address.", field=name)
    return values

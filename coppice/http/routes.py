"""The calls: each reads what it needs, asks jobs or storage, and answers. Under both prefixes, with and without slash.

Not here: the upload itself (`http.upload`), the bodies (`http.answers`), the page that describes them (`http.docs`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from coppice.errors import ParameterMissing
from coppice.http import answers, mask
from coppice.http.admission import Admission
from coppice.http.auth import Gate
from coppice.http.docs import describe
from coppice.http.download import download
from coppice.http.intake import INTAKES, Intake
from coppice.http.names import unknown_name
from coppice.http.upload import Uploads
from coppice.jobs.desk import Desk
from coppice.storage import Storage

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

#: The calls: HTTP method, and the address as the documents spell it.
ADDRESSES: Mapping[str, tuple[str, str]] = {
    **{call: ("POST", f"/api/{call}") for call in INTAKES},
    "status": ("GET", "/api/status/"),
    "download": ("GET", "/api/download"),
    "cancel": ("POST", "/api/cancel"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The handlers, with what they stand on."""

    desk: Desk
    storage: Storage
    gate: Gate
    uploads: Uploads
    admission: Admission

    def taking(self, intake: Intake) -> Handler:
        """The handler of a call that takes a model."""

        async def take(http: Request) -> Response:
            client = await self.gate.client(http)
            fields = mask.parse(http.headers.get("x-fields"))
            with self.admission.slot(client):
                txid = await self.uploads.accept(http, intake, client)
            return _answer(http, answers.Submitted(txid=txid), fields)

        return take

    async def status(self, http: Request) -> Response:
        """Ask again until the status is 0 (done) or negative (failed, cancelled)."""
        client = await self.gate.client(http)
        fields = mask.parse(http.headers.get("x-fields"))
        txid = _query(http, "status", "txid")["txid"]
        return _answer(http, answers.status(await asyncio.to_thread(self.desk.job, txid, client)), fields)

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


def router(calls: Calls) -> APIRouter:
    """Every call under every address. The page shows one of each, with both prefixes as servers."""
    found = APIRouter(redirect_slashes=False)
    for call, (method, path) in ADDRESSES.items():
        handler: Handler = calls.taking(INTAKES[call]) if call in INTAKES else getattr(calls, call)
        for address in _spellings(path):
            found.add_api_route(
                address,
                handler,
                methods=[method],
                response_model=None,
                include_in_schema=address == path,
                **describe(call),
            )
    return found


def _spellings(path: str) -> Iterator[str]:
    for prefix in ("", answers.HUB):
        yield from (f"{prefix}{path.rstrip('/')}", f"{prefix}{path.rstrip('/')}/")


def _answer(http: Request, answer: answers.Submitted | answers.Status, fields: mask.Mask) -> JSONResponse:
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

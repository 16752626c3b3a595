"""The service as one ASGI value: routes, refusals, envelope, page."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from coppice.errors import (
    CoppiceError,
    DatabaseUnavailable,
    InternalError,
    MethodNotAllowed,
    StorageUnavailable,
    UnknownAddress,
)
from coppice.http import answers
from coppice.http.admission import Admission
from coppice.http.auth import Gate, refusal_headers
from coppice.http.docs import ABOUT, add_docs
from coppice.http.drain import Drain
from coppice.http.envelope import Envelope
from coppice.http.events import PER_CLIENT
from coppice.http.health import Health, reach
from coppice.http.page import page_routes
from coppice.http.rate import RateHeaders
from coppice.http.routes import ADDRESSES, Calls, add_calls
from coppice.http.upload import Uploads
from coppice.http.watching import Watch
from coppice.http.witness import Witness, note_refusal
from coppice.jobs.audit import Audit
from coppice.jobs.desk import Desk
from coppice.jobs.exposition import Exposition
from coppice.jobs.keys import Keys
from coppice.jobs.patience import AWAY
from coppice.jobs.rates import open_rates
from coppice.settings import Settings
from coppice.storage import Storage
from coppice.version import __version__

_log = logging.getLogger(__name__)

#: Faults that pass by themselves -> what a client is told of them, None: their own words. All else is the operator's
#: to know.
_PASSING: Mapping[type[CoppiceError], str | None] = {
    DatabaseUnavailable: "The service can't reach its database just now. Nothing was changed; try again in a moment.",
    StorageUnavailable: None,  # says no more than that, and why (`storage.trouble`)
}
_PASSING_SECONDS = 5


def create_app(
    settings: Settings, desk: Desk, keys: Keys, storage: Storage, *, isolation: Mapping[str, str] | None = None
) -> FastAPI:
    """The whole HTTP side; raises ParameterInvalid for settings that would let others run code here.

    `isolation` says what contains the jobs of the workers beside this process. Its end begins with `app.state.drain`.
    """
    settings.refuse_unsafe()
    drain = Drain()
    audit = Audit(keys.engine, keep_seconds=settings.audit_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(audit.close)

    app = FastAPI(
        title="Coppice",
        version=__version__,
        description=ABOUT,
        servers=[
            {"url": "/", "description": "as in Getting Started"},
            {"url": answers.HUB, "description": "as in the API Hub tutorial"},
        ],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            Middleware(RateHeaders),
            Middleware(Witness, audit=audit),
            Middleware(Envelope, isolation=settings.isolation, drain=drain),
        ],
        exception_handlers={
            CoppiceError: _refuse,
            **dict.fromkeys(AWAY, _refuse_without_database),
            HTTPException: _refuse_address,
        },
    )
    watch = Watch(desk.glances, drain)
    calls = Calls(
        desk=desk,
        storage=storage,
        gate=Gate(settings, keys, open_rates(settings)),
        uploads=Uploads(settings, desk, storage),
        admission=Admission(settings.uploads_per_client),
        watch=watch,
        waiting=Admission(PER_CLIENT, "waiting calls"),
    )
    add_calls(app, calls)
    app.state.drain, app.state.watch = drain, watch
    app.state.exposition = Exposition(settings, desk.look.now, isolation=isolation)
    parts = {"database": partial(asyncio.to_thread, desk.look.ready), "storage": partial(reach, storage)}
    app.router.routes.extend(Health(parts, app.state.exposition, drain, isolation=isolation).routes)
    app.router.routes.extend(page_routes())
    add_docs(app)
    return app


async def _refuse(http: Request, error: Exception) -> Response:
    passing = next((kind for kind in _PASSING if isinstance(error, kind)), None)
    if passing is not None:
        _log.warning("a call was refused: %s", error)
        note_refusal(http, passing.code)
        headers = {"Retry-After": str(_PASSING_SECONDS)}
        return answers.failure(passing(_PASSING[passing] or str(error)), http.url.path, headers)
    if not isinstance(error, CoppiceError) or isinstance(error, InternalError):
        raise error  # our own fault: the envelope logs it, and says no more than a request id
    note_refusal(http, error.code)
    return answers.failure(error, http.url.path, refusal_headers(error))


async def _refuse_without_database(http: Request, error: Exception) -> Response:
    # Without the statement and what was in it.
    said = str(getattr(error, "orig", type(error).__name__)).strip() or type(error).__name__
    return await _refuse(http, DatabaseUnavailable(said.splitlines()[0]))


async def _refuse_address(http: Request, error: Exception) -> Response:
    """Starlette's own refusals, in the shape of the contract."""
    if not isinstance(error, HTTPException):
        raise error
    path = http.url.path
    if error.status_code == MethodNotAllowed.http_status:
        allowed = (error.headers or {}).get("Allow", "another method")
        refused: CoppiceError = MethodNotAllowed(f"{path[:200]} takes {allowed}, not {http.method}.")
    else:
        close = difflib.get_close_matches(path, [known for _method, known in ADDRESSES.values()], n=1)
        hint = f" Did you mean {close[0]}?" if close else " /docs shows the calls."
        refused = UnknownAddress(f"There is nothing at {path[:200]}.{hint}")
    return answers.failure(refused, path, error.headers)

"""The service as one ASGI value: routes, refusals, envelope, page."""

from __future__ import annotations

import difflib

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coppice.errors import CoppiceError, InternalError, MethodNotAllowed, UnknownAddress
from coppice.http import answers
from coppice.http.admission import Admission
from coppice.http.auth import Gate
from coppice.http.docs import ABOUT, add_docs
from coppice.http.envelope import Envelope
from coppice.http.routes import ADDRESSES, Calls, router
from coppice.http.upload import Uploads
from coppice.jobs.desk import Desk
from coppice.jobs.keys import Keys
from coppice.settings import Settings
from coppice.storage import Storage
from coppice.version import __version__


def create_app(settings: Settings, desk: Desk, keys: Keys, storage: Storage) -> FastAPI:
    """The whole HTTP side; raises ParameterInvalid for settings that would let others run code here."""
    settings.refuse_unsafe()
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
        middleware=[Middleware(Envelope, isolation=settings.isolation)],
        exception_handlers={CoppiceError: _refuse, HTTPException: _refuse_address},
    )
    calls = Calls(
        desk=desk,
        storage=storage,
        gate=Gate(settings, keys),
        uploads=Uploads(settings, desk, storage),
        admission=Admission(settings.uploads_per_client),
    )
    app.include_router(router(calls))
    app.router.routes.append(Route("/healthz", _healthy, include_in_schema=False))
    add_docs(app)
    return app


async def _healthy(_http: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refuse(http: Request, error: Exception) -> Response:
    if not isinstance(error, CoppiceError) or isinstance(error, InternalError):
        raise error  # our own fault: the envelope logs it, and says no more than a request id
    return answers.failure(error, http.url.path)


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

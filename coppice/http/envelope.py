"""What goes around every answer: a request id, the headers of the whole service, and the answer to our own faults.

Plain ASGI, because Starlette's middleware class puts a task and a queue between an upload and its handler.
"""

from __future__ import annotations

import logging
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coppice import logs
from coppice.errors import InternalError
from coppice.http import answers
from coppice.http.docs import ASSETS
from coppice.http.drain import Drain
from coppice.http.routes import ADDRESSES
from coppice.jobs import metrics

_LOG = logging.getLogger("coppice.http")

REQUEST_ID = "X-Request-Id"
ISOLATION = "X-Coppice-Isolation"


#: HTTP methods that are counted under their own names.
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS"})
#: What is counted by its address; all else would be as many as a stranger cares to try.
_ROUTES = frozenset(
    {
        *(path.rstrip("/") for _method, path in ADDRESSES.values()),
        *("/healthz", "/readyz", "/metrics", "/openapi.json"),
    }
)


class Envelope:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, *, isolation: str, drain: Drain) -> None:
        self._app = app
        self._drain = drain
        self._headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        if isolation == "none":
            self._headers[ISOLATION] = "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid4())
        with self._drain.call(), logs.about(request=request_id):
            await self._serve(scope, receive, send, request_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        # 499: the caller left before there was an answer.
        begun, started, status, received, sent = perf_counter(), False, 499, 0, 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def send_dressed(message: Message) -> None:
            nonlocal started, status, sent
            sent += len(message.get("body", b""))
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({**self._headers, REQUEST_ID: request_id})
                # Answers are about one client's jobs; the page's files are the same for all, and large.
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith(ASSETS) else "no-store")
            await send(message)

        try:
            await self._app(scope, receive_counted, send_dressed)
        except ClientDisconnect:
            _LOG.info("%s: the client left before the end of its upload", request_id)
        except Exception:
            _LOG.exception("%s: %s %s failed", request_id, scope["method"], scope["path"])
            if started:
                raise  # the server closes the connection, so that half an answer is not taken for a whole one
            error = InternalError(
                f"The service failed on this call; it is not your fault. Tell its operator the request id {request_id}."
            )
            await answers.failure(error, scope["path"])(scope, receive, send_dressed)
        finally:
            passed = perf_counter() - begun
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.call_ended(route(scope["path"]), method, status, passed, received=received, sent=sent)


def route(path: str) -> str:
    """The address as metrics name it: one word for all spellings of a call, and one for all that is no call."""
    plain = path.removeprefix(answers.HUB).rstrip("/")
    return plain if plain in _ROUTES else "/docs" if plain.startswith("/docs") else "other"

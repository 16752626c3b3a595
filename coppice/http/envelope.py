"""What goes around every answer: a request id, the headers of the whole service, and the answer to our own faults.

Plain ASGI, because Starlette's middleware class puts a task and a queue between an upload and its handler.
"""

from __future__ import annotations

import logging
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coppice.errors import InternalError
from coppice.http import answers
from coppice.http.docs import ASSETS

_LOG = logging.getLogger("coppice.http")

REQUEST_ID = "X-Request-Id"
ISOLATION = "X-Coppice-Isolation"


class Envelope:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, *, isolation: str) -> None:
        self._app = app
        self._headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        if isolation == "none":
            self._headers[ISOLATION] = "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started = str(uuid4()), False

        async def send_dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update({**self._headers, REQUEST_ID: request_id})
                # Answers are about one client's jobs; the page's files are the same for all, and large.
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith(ASSETS) else "no-store")
            await send(message)

        try:
            await self._app(scope, receive, send_dressed)
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

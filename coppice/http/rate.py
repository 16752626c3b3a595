"""What every answer tells its client of the calls that are left: the headers of the documents' gateway.

Not here: the count (`jobs.rates`), and who is counted (`http.auth`).
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coppice.jobs.rates import Allowance

LIMIT = "X-RateLimit-Limit"
REMAINING = "X-RateLimit-Remaining"
_STATE = "allowance"


def tell(http: Request, allowance: Allowance) -> None:
    """Have the answer of this call show an allowance."""
    setattr(http.state, _STATE, allowance)


class RateHeaders:
    """Wraps the app; plain ASGI for the reason of `http.envelope`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Made here, so that what handlers note in it is seen here: they may be given a copy of the scope.
        state = scope.setdefault("state", {})

        async def send_told(message: Message) -> None:
            allowance: Allowance | None = state.get(_STATE)
            if message["type"] == "http.response.start" and allowance is not None:
                headers = MutableHeaders(scope=message)
                headers[LIMIT] = str(allowance.limit)
                headers[REMAINING] = str(allowance.remaining)
            await send(message)

        await self._app(scope, receive, send_told)

"""What the audit log is told of a call: seen from outside, when its answer has been sent or has broken off.

Not here: how the log is kept (`jobs.audit`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coppice.errors import KeyInvalid
from coppice.http import answers
from coppice.http.auth import Caller
from coppice.http.intake import INTAKES
from coppice.jobs.audit import Audit, Entry

#: Method and call -> what it does, of those that do or hand out something. To look changes nothing and is not noted.
ACTIONS: Mapping[tuple[str, str], str] = {
    **{("POST", call): "submit" for call in INTAKES},
    ("POST", "cancel"): "cancel",
    ("POST", "delete"): "delete",
    ("DELETE", "jobs"): "delete",
    ("GET", "download"): "download",
}
#: Refused keys that are noted in a minute: of a flood the first are enough.
_REFUSED_KEYS = 60
_MINUTE = 60.0
_OK = 400  # the first HTTP status that is not


def note_txid(http: Request, txid: str) -> None:
    """Say which transaction a call made."""
    http.state.txid = txid


def note_refusal(http: Request, code: str) -> None:
    """Say why a call was refused."""
    http.state.refusal = code


class Witness:
    """Wraps the app; plain ASGI for the reason of `http.envelope`."""

    def __init__(self, app: ASGIApp, *, audit: Audit) -> None:
        self._app = app
        self._audit = audit
        self._refused: deque[float] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        status, whole = 0, False

        async def send_seen(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_seen)
        finally:
            # A page, an unknown address and the like have no caller: none of them passes the gate.
            caller: Caller | None = state.get("caller")
            if caller is not None:
                self._note(scope, caller, _outcome(state.get("refusal"), status, whole=whole))

    def _note(self, scope: Scope, caller: Caller, outcome: str) -> None:
        action = ACTIONS.get((scope["method"], answers.call_of(scope["path"])))
        if outcome == KeyInvalid.code:
            if not self._first_of_a_flood():
                return
            action = "key_refused"
        if action is None:
            return
        txid = scope["state"].get("txid") or QueryParams(scope["query_string"]).get("txid")
        self._audit.note(
            Entry(
                at=datetime.now(UTC),
                client=caller.client,
                client_id=caller.client_id,
                address=caller.address,
                action=action,
                txid=txid,
                outcome=outcome,
            )
        )

    def _first_of_a_flood(self) -> bool:
        now = time.monotonic()
        while self._refused and self._refused[0] < now - _MINUTE:
            self._refused.popleft()
        if len(self._refused) >= _REFUSED_KEYS:
            return False
        self._refused.append(now)
        return True


def _outcome(refusal: str | None, status: int, *, whole: bool) -> str:
    if refusal is not None:
        return refusal
    if not whole:
        return "broken_off"
    return "ok" if status < _OK else f"http_{status}"

"""Calls over HTTP: tried again where a failure passes, and raised as the error that it was at the service.

Not here: which calls there are (`client.client`), a download's own breaks (`client.download`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any

import httpx

from coppice.errors import BY_CODE, CoppiceError, IsolationUnavailable, NotInstalled, ServiceUnavailable, ShareExceeded

#: An upload waits for the server's disk, so writes have no limit of their own.
_TIMEOUT = httpx.Timeout(60, write=None)

#: Pauses before a call is tried again, seconds: doubled each time, and taken at random from their upper half, so that
#: many clients of one service that was away do not come back all at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
#: A service that asks for a longer pause than this means a quota: waiting for it is the caller's decision.
LONGEST_ASKED = 60.0

#: Too many calls; and a service, or what stands before it, that is away for a moment.
_PASSING = frozenset({429, 502, 503, 504})
#: What the service answers with 503 and does not pass by waiting.
_STAYING = frozenset({NotInstalled.code, IsolationUnavailable.code})


class Connection:
    """One service, one key."""

    def __init__(self, url: str, *, headers: Mapping[str, str], verify: bool, retries: int) -> None:
        self.url = url
        self._verify, self._retries = verify, retries
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/api/",
            headers=dict(headers),
            # A connection a call: one that was kept may be closed by a service that starts again, just as it is used.
            transport=httpx.HTTPTransport(verify=verify, limits=httpx.Limits(max_keepalive_connections=0)),
            timeout=_TIMEOUT,
        )

    def close(self) -> None:
        """Let go of what is open."""
        self._http.close()

    def json(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """What a call answers."""
        with self.answer(method, path, **given) as answer:
            answer.read()
            return _body(answer)

    @contextmanager
    def answer(self, method: str, path: str, **given: Any) -> Iterator[httpx.Response]:
        """The answer of a call, its body not read yet; raises the service's failure as the error that it was there."""
        try:
            answer = self._sent(method, path, **given)
            try:
                yield answer
            finally:
                answer.close()
        except httpx.HTTPError as e:
            hint = " For a self-signed certificate use --insecure, or verify=False." if _untrusted(e) else ""
            raise ServiceUnavailable(f"{self.url} can't be reached: {e}.{hint}") from e

    @contextmanager
    def elsewhere(self, address: str) -> Iterator[httpx.Response]:
        """Another server's answer, which is shown no key of ours."""
        try:
            with httpx.stream("GET", address, verify=self._verify, timeout=_TIMEOUT) as answer:
                if answer.is_error:
                    raise ServiceUnavailable(
                        f"{answer.url.host}, where the service keeps its files, answered {answer.status_code}."
                    )
                yield answer
        except httpx.HTTPError as e:
            raise ServiceUnavailable(f"{httpx.URL(address).host}, where the service keeps its files: {e}.") from e

    def _sent(self, method: str, path: str, **given: Any) -> httpx.Response:
        for attempt in count():
            last = attempt >= self._retries
            try:
                answer = self._http.send(self._http.build_request(method, path, **given), stream=True)
                if not answer.is_error:
                    return answer
                answer.read()
            except httpx.HTTPError as e:
                if last or _untrusted(e):
                    raise
                time.sleep(_pause(attempt))
                continue
            asked = _pause_asked(answer)
            if last or asked is None:
                raise refusal(_body(answer), ServiceUnavailable, answer.headers.get("Retry-After"))
            time.sleep(max(asked, _pause(attempt)))
        raise AssertionError("count() has no end")


def refusal(body: Mapping[str, Any], otherwise: type[CoppiceError], retry_after: str | None = None) -> CoppiceError:
    """The error that an answer tells of."""
    kind = BY_CODE.get(str(body.get("code")), otherwise)
    error = kind(str(body.get("message", "no message")), field=body.get("field"))
    if isinstance(error, ShareExceeded) and retry_after is not None:
        error.retry_after = round(_seconds(retry_after))
    return error


def _pause(attempt: int) -> float:
    longest: float = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
    return random.uniform(longest / 2, longest)  # noqa: S311  # no secret


def _pause_asked(answer: httpx.Response) -> float | None:
    """How long the service asks to wait; None where waiting does not help, or takes too long."""
    if answer.status_code not in _PASSING:
        return None
    try:
        code = answer.json().get("code")
    except (ValueError, AttributeError):  # a proxy's own page
        code = None
    seconds = _seconds(answer.headers.get("Retry-After", "0"))
    return None if code in _STAYING or seconds > LONGEST_ASKED else seconds


def _seconds(retry_after: str) -> float:
    """Read `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())


def _untrusted(error: httpx.HTTPError) -> bool:
    return "CERTIFICATE_VERIFY" in str(error)


def _body(answer: httpx.Response) -> dict[str, Any]:
    address = answer.request.url.copy_with(query=None)
    try:
        body = answer.json()
    except ValueError as e:
        raise ServiceUnavailable(f"{address} answered {answer.status_code} and no JSON. Is it Coppice?") from e
    if not isinstance(body, dict):
        raise ServiceUnavailable(f"{address} answered no JSON object. Is it Coppice?")
    return body

"""For machines that look after this one: /healthz (it answers), /readyz (it can work), /metrics (how it goes).

/healthz and /readyz are for everybody and tell nothing that a stranger could use. /metrics is for this machine only:
in a cluster Prometheus reads it on `metrics_port`, which is not to be reachable from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from coppice.errors import UnknownAddress
from coppice.http import answers
from coppice.http.drain import Drain
from coppice.jobs.exposition import CONTENT_TYPE, Exposition
from coppice.settings import is_loopback
from coppice.storage import Storage, result_key
from coppice.version import __version__

#: What each of the parts that a call needs may take to answer, seconds.
_PATIENCE_SECONDS = 2.0
#: How long an answer is good for, seconds: whoever asks without end asks nothing of the database.
_FRESH_SECONDS = 1.0
#: Headers by which a proxy says that the call is somebody else's.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


#: A key that nothing is stored under.
_NOTHING = result_key("00000000-0000-4000-8000-000000000000", 0, "nothing")


async def reach(storage: Storage) -> None:
    """Ask the store for what it can't have; raises when it does not answer that there is no such file."""
    try:
        await storage.get(_NOTHING)
    except FileNotFoundError:
        return


class Part:
    """Something that calls need, and whether it answers."""

    def __init__(self, look: Callable[[], Awaitable[object]]) -> None:
        self._look = look
        self._task: asyncio.Task[bool] | None = None
        self._ended = 0.0

    async def answers(self) -> bool:
        """Whether it answers now, in time. A look that hangs is waited for by all who ask, and not repeated."""
        if self._task is None or (self._task.done() and monotonic() - self._ended >= _FRESH_SECONDS):
            self._task = asyncio.create_task(self._try())
        done, _ = await asyncio.wait({self._task}, timeout=_PATIENCE_SECONDS)
        return bool(done) and self._task.result()

    async def _try(self) -> bool:
        try:
            await self._look()
        except Exception:  # noqa: BLE001  # whatever it is, a call would meet it, too
            return False
        finally:
            self._ended = monotonic()
        return True


class Health:
    """The three addresses."""

    def __init__(
        self,
        parts: Mapping[str, Callable[[], Awaitable[object]]],
        exposition: Exposition,
        drain: Drain,
        *,
        isolation: Mapping[str, str] | None,
    ) -> None:
        self._parts = {name: Part(look) for name, look in parts.items()}
        self._exposition = exposition
        self._drain = drain
        self._isolation = isolation

    @property
    def routes(self) -> list[BaseRoute]:
        """Not on the page: they are no part of the contract."""
        return [
            Route("/healthz", self.healthz, include_in_schema=False),
            Route("/readyz", self.readyz, include_in_schema=False),
            Route("/metrics", self.metrics, include_in_schema=False),
        ]

    async def healthz(self, _http: Request) -> Response:
        """This process answers; what contains the jobs of its workers, where it has some."""
        return JSONResponse({"status": "ok", "version": __version__, "isolation": self._isolation})

    async def readyz(self, _http: Request) -> Response:
        """Whether to send calls here: 503 with what is missing, or while this process ends."""
        looks = [part.answers() for part in self._parts.values()]
        missing = [name for name, there in zip(self._parts, await asyncio.gather(*looks), strict=True) if not there]
        if self._drain.begun.is_set():
            return JSONResponse({"status": "draining", "missing": missing}, 503)
        return JSONResponse(
            {"status": "unavailable" if missing else "ready", "missing": missing}, 503 if missing else 200
        )

    async def metrics(self, http: Request) -> Response:
        """Prometheus's text, for callers on this machine."""
        if not _is_near(http):
            path = http.url.path
            hidden = UnknownAddress("/metrics is shown to this machine only. Prometheus reads it on --metrics-port.")
            return answers.failure(hidden, path)
        return Response(await asyncio.to_thread(self._exposition.text), media_type=CONTENT_TYPE)


def _is_near(http: Request) -> bool:
    """Whether the caller is on this machine, and not a proxy that passes another's call on."""
    caller = http.client.host if http.client else ""
    return is_loopback(caller) and not any(name in http.headers for name in _FORWARDED)

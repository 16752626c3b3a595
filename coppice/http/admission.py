"""How much of one kind a client may have under way, uploads for one: more would only take from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from coppice.errors import TooManyRequests
from coppice.jobs import metrics

#: What a refused client is told to wait, seconds: about an upload of 100 MB on an ordinary line.
RETRY_SECONDS = 10


class Admission:
    """Calls of one kind under way, by client. One event loop uses it, so counting needs no lock."""

    def __init__(self, limit: int, kind: str = "uploads") -> None:
        self._limit = limit
        self._kind = kind
        self._under_way: Counter[str] = Counter()
        metrics.under_way(kind, 0)

    @contextmanager
    def slot(self, client: str) -> Iterator[None]:
        """Hold one call's place; raises TooManyRequests when the client has no place left."""
        if self._under_way[client] >= self._limit:
            raise TooManyRequests(
                f"{self._limit} {self._kind} of yours are under way, as many as one client may have. "
                f"Try again in {RETRY_SECONDS} s.",
                retry_after=RETRY_SECONDS,
            )
        self._under_way[client] += 1
        metrics.under_way(self._kind, self._under_way.total())
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
            metrics.under_way(self._kind, self._under_way.total())

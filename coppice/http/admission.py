"""How many uploads one client may have under way: more would only take the disk and the wire from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from coppice.errors import TooManyRequests

#: What a refused client is told to wait, seconds: about an upload of 100 MB on an ordinary line.
RETRY_SECONDS = 10


class Admission:
    """Uploads under way, by client. One event loop uses it, so counting needs no lock."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def slot(self, client: str) -> Iterator[None]:
        """Hold one upload's place; raises TooManyRequests when the client has no place left."""
        if self._under_way[client] >= self._limit:
            raise TooManyRequests(
                f"{self._limit} uploads of yours are under way, as many as one client may have. "
                f"Try again in {RETRY_SECONDS} s."
            )
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

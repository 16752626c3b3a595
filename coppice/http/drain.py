"""The end of an API process in order: it stops being ready at once, and stops when the calls under way have ended.

It goes on taking calls meanwhile: a load balancer sends some until it has asked /readyz again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn


class Drain:
    """Whether this process is about to end, and what it still waits for. One event loop uses it."""

    def __init__(self) -> None:
        #: Set once the process was told to stop; calls that only wait (`events`, `wait=`) end then.
        self.begun = asyncio.Event()
        self._calls = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call as under way."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return self._calls == 0


class Server(uvicorn.Server):
    """uvicorn's server, which by itself closes its sockets as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, drain: Drain, *, seconds: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._seconds = seconds
        self._deadline: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal; end at the second."""
        if self._deadline is not None:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        self._deadline = time.monotonic() + self._seconds

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        if self._deadline is not None:
            self._drain.begun.set()
            if self._drain.idle or time.monotonic() >= self._deadline:
                self.should_exit = True
        return await super().on_tick(counter)

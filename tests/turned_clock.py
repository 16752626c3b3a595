"""A clock that a test turns, in place of the one by which calls are counted."""

from __future__ import annotations


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

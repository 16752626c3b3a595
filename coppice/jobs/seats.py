"""A worker's place: whose jobs it takes, and in whose name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One worker process, and the one that takes its place when it dies."""

    queue: str
    slot: int  # among the workers of this queue on this machine
    executor: str  # no two that live have the same

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Seat:
        """From the command line of a worker."""
        queue, slot, executor = arguments
        return cls(queue=queue, slot=int(slot), executor=executor)

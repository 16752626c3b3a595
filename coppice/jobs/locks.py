"""Locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from coppice.errors import ServiceUnavailable


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; raises ServiceUnavailable when another process does, or it can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.open("a")
    except OSError as e:
        raise ServiceUnavailable(
            f"{path.parent} can't be written: {e.strerror}. Give another folder with --data."
        ) from e
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise ServiceUnavailable(f"Another process holds {what} ({path}). Stop it first.") from e
        yield

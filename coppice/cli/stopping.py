"""Ctrl-C and SIGTERM: what runs is given up in order, nothing half-written stays; a second one quits at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What a shell takes for "ended by Ctrl-C": 128 and the number of SIGINT.
EXIT_CODE = 130

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal; end the process at the second."""
    # What was started to ignore a signal, as by `nohup` or in the background of a script, goes on ignoring it.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, _quit)
    raise KeyboardInterrupt


def _quit(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_CODE)

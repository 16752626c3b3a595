"""A process that watches itself: one that is cut off from the database, or whose event loop hangs, ends.

The watching thread does nothing else, and asks nobody who could make it wait. The end is an abrupt one: the processes
of the job in hand die with this one, the supervisor starts another, and until then nobody works in this one's name.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from coppice.errors import DatabaseUnavailable, InternalError

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
#: How long an event loop may leave a call unanswered, seconds: nothing of ours takes it for more than milliseconds.
_HUNG_SECONDS = 60.0


def watch(
    loop: asyncio.AbstractEventLoop, *, silence: Callable[[], float], longest: float, before_end: Callable[[], None]
) -> None:
    """End this process when its silence, or that of its loop, lasts too long; `before_end` is called for the first."""
    threading.Thread(target=_watch, args=(loop, silence, longest, before_end), name="watch", daemon=True).start()


def _watch(
    loop: asyncio.AbstractEventLoop, silence: Callable[[], float], longest: float, before_end: Callable[[], None]
) -> None:
    answered = threading.Event()
    answered.set()
    unanswered = 0
    while True:
        time.sleep(_TICK_SECONDS)
        if (seconds := silence()) > longest:
            _log.error("this process ends: others take it for dead, it was silent for %.0f s", seconds)
            try:
                before_end()
            finally:
                os._exit(DatabaseUnavailable.exit_code)
        if not answered.is_set():
            # Ticks are counted, not time: a process that was stopped as a whole has not hung.
            unanswered += 1
            if unanswered * _TICK_SECONDS >= _HUNG_SECONDS:
                _log.error("this process ends: its event loop has not answered for %.0f s", _HUNG_SECONDS)
                faulthandler.dump_traceback(sys.stderr)
                os._exit(InternalError.exit_code)
            continue
        answered.clear()
        unanswered = 0
        try:
            loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # the loop is closed: the process is at its end
            return

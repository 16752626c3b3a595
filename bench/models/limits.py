"""One piece of work in a process of its own, within limits of time and memory."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
#: How often the memory of the process is looked at, seconds.
_LOOK_SECONDS = 0.2


def within(work: Callable[[], dict[str, Any]], *, seconds: float, memory: int) -> dict[str, Any]:
    """What the work returns, with its peak memory; or which limit it hit, or how it died.

    The process is forked, so that the frameworks are imported once; memory counts above what the fork began with.
    """
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_work, args=(work, theirs, seconds))
    process.start()
    theirs.close()
    peak, limit = 0, None
    first = _resident(process.pid)
    while not ours.poll(_LOOK_SECONDS):
        peak = max(peak, _resident(process.pid) - first)
        if peak > memory:
            limit = "memory"
            break
        if not process.is_alive():
            break
    told = _received(ours) if limit is None else None
    process.kill()
    process.join()
    if limit is None and process.exitcode == -signal.SIGXCPU:
        limit = "time"
    if limit is not None:
        used = {"seconds": seconds} if limit == "time" else {}  # at least
        told = {
            **used,
            "outcome": "limit",
            "why": f"{limit}: {seconds:g} CPU seconds and {memory // MIB:,} MiB are allowed",
        }
    elif told is None:
        told = {"outcome": "crashed", "why": f"the process ended with {process.exitcode}"}
    return {**told, "peak_mib": max(peak // MIB, told.pop("peak_mib", 0))}


def _work(work: Callable[[], dict[str, Any]], answer: Connection, seconds: float) -> None:
    gc.disable()  # a collection would touch, and so copy, every page that is shared with the parent
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    used = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used, used + 5))
    try:
        told = work()
    except MemoryError:
        told = {"outcome": "limit", "why": "memory: an allocation failed"}
    except Exception as e:  # noqa: BLE001 - it is the result
        traceback.print_exc(file=sys.stderr)
        told = {"outcome": "crashed", "why": f"{type(e).__name__}: {e}"[:500]}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began
    answer.send(json.dumps({**told, "peak_mib": grown // 1024}))
    answer.close()
    os._exit(0)


def _received(answer: Connection) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(answer.recv())
    except EOFError:
        return None
    return told


def _resident(pid: int | None) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0

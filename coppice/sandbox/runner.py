"""Runs jobs: takes a box that is ready, lets the job happen in it, judges, takes the results over."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from coppice.errors import InternalError, IsolationUnavailable, JobCrashed
from coppice.records.report import Account, Progress
from coppice.records.request import Request
from coppice.sandbox.box import REQUEST, Box, Command, Walls, open_box
from coppice.sandbox.conversation import Facts, NotReady, converse
from coppice.sandbox.limits import Limits
from coppice.sandbox.results import InvalidResult, collect
from coppice.sandbox.verdict import Ending, invalid, verdict
from coppice.sandbox.view import OUT
from coppice.sandbox.words import quoted

_log = logging.getLogger(__name__)

#: Boxes that one job may use up before it starts: on a busy machine a process may take longer to get ready than it has.
_BOXES_PER_JOB = 3


class Runner(Protocol):
    """What a worker needs of a sandbox."""

    async def run(
        self, folder: Path, on_progress: Callable[[Progress], None], *, seconds: int | None = None
    ) -> Account:
        """Run the job whose request.json and in/ are in `folder`; its results are in folder/out afterwards.

        `seconds` is the job's own limit of time; the service's own is never passed. Raises the CoppiceError that ended
        the job. Cancelled, it kills everything that the job started.
        """

    def close(self) -> None:
        """Kill whatever waits or runs. Not needed where the process ends anyway: everything dies with it."""


class BoxRunner:
    """A runner with boxes started ahead, so that a small job does not wait for the framework's import."""

    def __init__(self, walls: Walls, *, limits: Limits, command: Command, scratch: Path, warm: int) -> None:
        self._walls = walls
        self._limits = limits
        self._command = command
        self._scratch = scratch
        self._warm = warm
        self._ready: deque[Box] = deque()
        # Processes die with the thread that started them, so one thread starts them all and stays.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="boxes")
        self._starter.submit(self._fill)

    async def run(
        self, folder: Path, on_progress: Callable[[Progress], None], *, seconds: int | None = None
    ) -> Account:
        """See Runner."""
        request = Request.model_validate_json((folder / REQUEST).read_bytes())
        limits = self._limits if seconds is None else replace(self._limits, seconds=min(seconds, self._limits.seconds))
        for tries in range(1, _BOXES_PER_JOB + 1):
            box = await self._take()
            # The next box starts while this job runs.
            self._starter.submit(self._fill)
            try:
                await asyncio.to_thread(box.load, folder)
                facts = await converse(box.process, box.out, limits, on_progress)
                return await asyncio.to_thread(self._judge, box, facts, limits, request, folder / OUT)
            except NotReady as e:
                if tries == _BOXES_PER_JOB:
                    raise IsolationUnavailable(f"The process that runs jobs did not start: {e}") from e
                _log.warning("a box was not ready for its job, which gets another: %s", e)
                # None of the job's code has run, so what is moved back is what came.
                await asyncio.to_thread(box.unload, folder)
            finally:
                box.process.kill()
                await asyncio.shield(asyncio.to_thread(box.destroy))
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """See Runner."""
        self._warm = 0
        self._starter.submit(self._empty).result()
        self._starter.shutdown()

    async def _take(self) -> Box:
        while self._ready:
            box = self._ready.popleft()
            if not box.process.exit.done():
                return box
            _log.warning("a box that waited for a job has died")
            await asyncio.to_thread(box.destroy)
        opening = self._starter.submit(self._open)
        try:
            return await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_destroy)
            raise

    def _judge(self, box: Box, facts: Facts, limits: Limits, request: Request, destination: Path) -> Account:
        ending = Ending(facts=facts, limits=limits, box=box.folder, out=box.out)
        error = verdict(ending)
        if isinstance(error, InternalError | JobCrashed):
            # The user is told what concerns the user; the operator wants to see the rest.
            _log.warning("%s\n%s", error.code, quoted(f"{error.message}\n{facts.stderr}"))
        if error is not None:
            raise error
        try:
            return collect(box.out, destination, request=request, limit=limits.result_bytes)
        except InvalidResult as e:
            raise invalid(ending, str(e)) from e

    def _open(self) -> Box:
        return open_box(self._walls, self._command, self._scratch)

    def _fill(self) -> None:
        try:
            while len(self._ready) < self._warm:
                self._ready.append(self._open())
        except Exception:  # noqa: BLE001 - logged; nobody waits for this box
            # The next job starts a box for itself and reports what is wrong.
            _log.exception("a box could not be started ahead")

    def _empty(self) -> None:
        while self._ready:
            self._ready.pop().destroy()


def _destroy(opening: Future[Box]) -> None:
    if opening.exception() is None:
        opening.result().destroy()


def private(folder: Path) -> Path:
    """Make a folder that this user alone can enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return Path(os.path.realpath(folder))

"""A box: a folder with a process around it that has imported the framework and waits for a job.

`BOX/request.json` and `BOX/in/` arrive when the job does, `BOX/out/` is the only place that the job can write to.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from coppice.sandbox.launch import Launch, Process
from coppice.sandbox.view import OUT

_log = logging.getLogger(__name__)

REQUEST, IN = "request.json", "in"

#: What to run in a box, given its folder.
Command = Callable[[Path], Sequence[str]]


class Walls(Protocol):
    """What stands between a job and the machine: `Bubblewrap`, `Landlocked` or `Bare`."""

    @property
    def uid_per_job(self) -> bool:
        """Whether every job has a user of its own on the host."""

    def launch(self, box: Path, command: Sequence[str]) -> Launch:
        """How to start a command with `box` as its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One folder and its process."""

    folder: Path
    process: Process

    @property
    def out(self) -> Path:
        """Where the job writes."""
        return self.folder / OUT

    def load(self, job: Path) -> None:
        """Move a job's files in and let its user read them; the folders above keep everybody else out."""
        for name in (REQUEST, IN):
            if (job / name).exists():
                shutil.move(job / name, self.folder / name)
        for path in (self.folder / REQUEST, self.folder / IN, *(self.folder / IN).rglob("*")):
            if path.exists():
                path.chmod(0o755 if path.is_dir() else 0o644)

    def unload(self, job: Path) -> None:
        """Move a job's files back to where they came from; only while nothing of the job has run."""
        for name in (REQUEST, IN):
            if (self.folder / name).exists():
                shutil.move(self.folder / name, job / name)

    def destroy(self) -> None:
        """Kill the process, wait until everything in it is dead, remove the folder."""
        self.process.close()
        remove(self.folder)


def open_box(walls: Walls, command: Command, scratch: Path) -> Box:
    """Make a box and start its process, in a thread that lives as long as the service does."""
    folder = scratch / uuid4().hex
    (folder / OUT).mkdir(parents=True)
    # Whatever the service's umask: the job's user has to enter it.
    folder.chmod(0o755)
    try:
        return Box(folder=folder, process=walls.launch(folder, command(folder)).start())
    except BaseException:
        remove(folder)
        raise


def remove(folder: Path) -> None:
    """Remove a folder that a job could write to, whatever it made of it; none is fine too."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        # Folders without permissions, or nested more deeply than Python follows. Neither tool follows links.
        for tool in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*tool, "--", str(folder)], check=False, capture_output=True)  # noqa: S603
        if folder.exists():
            _log.error("the folder of a job can't be removed: %s", folder)

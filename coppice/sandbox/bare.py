"""`--isolation none`: a job as a plain child process with limits. It protects this machine from accidents only."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coppice.sandbox.launch import Launch, job_environment
from coppice.sandbox.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """Runs commands as this very user, with its files and its network in reach."""

    prlimit: str | None
    limits: Limits
    #: The environment of TensorFlow and LiteRT.
    litert: Path | None = None

    @classmethod
    def find(cls, limits: Limits, *, litert: Path | None = None) -> Bare:
        """With what this machine has: without util-linux (macOS) there are no limits but the wall clock."""
        return cls(prlimit=shutil.which("prlimit"), limits=limits, litert=litert)

    @property
    def uid_per_job(self) -> bool:
        """Never: jobs run as the service's own user."""
        return False

    def launch(self, box: Path, command: Sequence[str]) -> Launch:
        """How to start `command`."""
        limited = self.limits.command(self.prlimit, count_processes=False) if self.prlimit else []
        own = {**job_environment(self.litert), "HOME": str(box), "TMPDIR": str(box / "out")}
        return Launch(command=(*limited, *command), environment=own)

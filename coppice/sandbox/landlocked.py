"""The boundary without namespaces, for containers that may not make any: Landlock, the system-call filter and limits.

Weaker than `bubblewrap` in one respect: a job is in the process, network and file system of its host, and only the
kernel's answer to each call keeps it from them. It can still ask whether a file exists and how large it is, though it
can't open it. Its temporary folder is one of its own folder, on disk. TensorFlow does not start here: it insists on
reading /proc.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coppice.errors import IsolationUnavailable
from coppice.sandbox import keeper, seccomp, starter, view
from coppice.sandbox.bubblewrap import draw_uid
from coppice.sandbox.cgroups import Cgroups
from coppice.sandbox.launch import Launch, job_environment
from coppice.sandbox.limits import Limits

#: Where a job has its temporary files, in its folder of results: counted with what it writes there.
TEMPORARY: Final = ".tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Landlocked:
    """Runs commands under a keeper each."""

    limits: Limits
    filter: bytes
    #: Whether the service is root, which gives each job a user of its own.
    root: bool
    litert: Path | None = None
    cgroups: Cgroups | None = None

    @classmethod
    def find(cls, limits: Limits, *, litert: Path | None = None, cgroups: Cgroups | None = None) -> Landlocked:
        """With what this kernel has; raises IsolationUnavailable where that is too little."""
        abi = keeper.landlock_abi()
        if abi < keeper.NEEDED_ABI:
            has = f"has version {abi} of Landlock" if abi else "has no Landlock, or it is switched off (lsm=landlock)"
            raise IsolationUnavailable(
                f"Without namespaces the sandbox needs Landlock of version {keeper.NEEDED_ABI} or newer (Linux 6.12),"
                f" which also keeps signals inside. This kernel {has}."
            )
        return cls(
            limits=limits,
            filter=seccomp.program(shared=True),
            root=os.geteuid() == 0,
            litert=litert,
            cgroups=cgroups,
        )

    @property
    def uid_per_job(self) -> bool:
        """Whether every job has a user of its own on the host."""
        return self.root

    def launch(self, box: Path, command: Sequence[str]) -> Launch:
        """How to start `command` with `box` as its folder; hands the box's out/ to the job's user."""
        out = box / view.OUT
        temporary = out / TEMPORARY
        temporary.mkdir()
        user = None
        if self.root:
            user = draw_uid()
            # The job's user has to pass through; the names of boxes are secrets, and Landlock closes the others.
            box.parent.chmod(0o711)
            for folder in (out, temporary):
                os.chown(folder, user, user)
        plan = {
            "user": user,
            "folder": str(temporary),
            "readable": [str(path) for path in view.readable(box, self.litert)],
            "devices": [f"/dev/{name}" for name in view.DEVICES],
            "writable": [str(out)],
            "limits": list(self.limits.rlimits(self._processes()).items()),
            "oom_score_adj": starter.OOM_SCORE,
            "environment": {**job_environment(self.litert), "HOME": str(temporary), "TMPDIR": str(temporary)},
            "filter": base64.b64encode(self.filter).decode("ascii"),
            "command": list(command),
        }
        return Launch(
            command=(sys.executable, "-I", "-S", "-B", keeper.__file__, Launch.GIVEN, Launch.LEASH),
            environment={},
            given=json.dumps(plan).encode(),
            group=self.limits.group(self.cgroups),
        )

    def _processes(self) -> int | None:
        """The limit on this user's processes: those of the job alone, or its share on top of all that there are."""
        if self.root:
            return self.limits.processes
        return None if self.cgroups else _tasks() + self.limits.processes


def _tasks() -> int:
    """How many processes and threads this user has."""
    tasks = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                if process.stat().st_uid == os.geteuid():
                    tasks += len(list((process / "task").iterdir()))
    return tasks

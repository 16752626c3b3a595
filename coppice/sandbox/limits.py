"""What one job may use, and the command that makes the kernel hold it to that.

Wall-clock time and the total on disk have no resource limit of the kernel: `conversation` watches those.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

from coppice.sandbox.cgroups import Cgroups, Group
from coppice.settings import Settings

#: Python, torch and a job's few files need about 40; 64 processes times 256 also bounds what open pipes can hold.
OPEN_FILES = 256

#: Between SIGXCPU, which a job could catch, and SIGKILL, which it can't.
CPU_GRACE_SECONDS = 2

#: A result is the model, its bundle of about the same size, and small files: all of them together stay below this
#: many times the limit of a single file.
FILES_PER_RESULT = 4


#: Resource limit -> its name for `prlimit`.
NAMES: Final = {
    resource.RLIMIT_AS: "as",
    resource.RLIMIT_CPU: "cpu",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_NPROC: "nproc",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one job."""

    memory_bytes: int
    seconds: int
    cpu_seconds: int
    output_bytes: int
    processes: int  # and threads

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that the settings ask for."""
        return cls(
            memory_bytes=settings.job_memory_bytes,
            seconds=settings.job_seconds,
            cpu_seconds=settings.job_cpu_seconds,
            output_bytes=settings.job_output_bytes,
            processes=settings.job_processes,
        )

    @property
    def result_bytes(self) -> int:
        """What everything that a job leaves on disk may take together."""
        return FILES_PER_RESULT * self.output_bytes

    def group(self, cgroups: Cgroups | None) -> Group | None:
        """A control group with these limits, where groups can be made."""
        if cgroups is None:
            return None
        return cgroups.new(memory_bytes=self.memory_bytes, processes=self.processes)

    def rlimits(self, processes: int | None) -> dict[int, tuple[int, int]]:
        """Resource limit -> soft and hard.

        Processes are counted per user. Where a job has no user of its own the count would take in everything
        else that the user runs: there it is left out, or says what those others take, too.
        """
        limits = {
            # RLIMIT_DATA would let shared anonymous memory pass; the address space covers it.
            resource.RLIMIT_AS: (self.memory_bytes, self.memory_bytes),
            resource.RLIMIT_CPU: (self.cpu_seconds, self.cpu_seconds + CPU_GRACE_SECONDS),
            resource.RLIMIT_FSIZE: (self.output_bytes, self.output_bytes),
            resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
            resource.RLIMIT_CORE: (0, 0),
        }
        return limits if processes is None else {**limits, resource.RLIMIT_NPROC: (processes, processes)}

    def command(self, prlimit: str, *, count_processes: bool) -> list[str]:
        """The prefix that starts a command under these limits."""
        limits = self.rlimits(self.processes if count_processes else None)
        return [prlimit, *(f"--{NAMES[number]}={soft}:{hard}" for number, (soft, hard) in limits.items()), "--"]

"""What one job may use, and the command that makes the kernel hold it to that.

Wall-clock time and the total on disk have no resource limit of the kernel: `conversation` watches those.
"""

from __future__ import annotations

from dataclasses import dataclass

from coppice.settings import Settings

#: Python, torch and a job's few files need about 40; 64 processes times 256 also bounds what open pipes can hold.
OPEN_FILES = 256

#: Between SIGXCPU, which a job could catch, and SIGKILL, which it can't.
CPU_GRACE_SECONDS = 2

#: A result is the model, its bundle of about the same size, and small files: all of them together stay below this
#: many times the limit of a single file.
FILES_PER_RESULT = 4


#: The kernel's preference among processes to kill when the machine runs out of memory: a job before its service.
FIRST_TO_GO = ("-n", "1000", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one job."""

    memory_bytes: int
    seconds: int
    cpu_seconds: int
    output_bytes: int
    processes: int

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

    def command(self, prlimit: str, *, count_processes: bool) -> list[str]:
        """The prefix that starts a command under these limits.

        Processes are counted per user. Where a job has no user of its own the count would take in everything
        else that the user runs, so there it is left out.
        """
        limits = [
            # RLIMIT_DATA would let shared anonymous memory pass; the address space covers it.
            f"--as={self.memory_bytes}",
            f"--cpu={self.cpu_seconds}:{self.cpu_seconds + CPU_GRACE_SECONDS}",
            f"--fsize={self.output_bytes}",
            f"--nofile={OPEN_FILES}",
            "--core=0",
        ]
        return [prlimit, *limits, *([f"--nproc={self.processes}"] if count_processes else []), "--"]

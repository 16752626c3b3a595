"""How a job ended, as an error: a table of questions asked in order, of facts before words.

The facts come from outside the sandbox. What the job itself says (`failure.json`) is asked only when no fact speaks,
and can harm nobody but the job.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coppice.errors import CoppiceError, DiskLimit, JobCrashed, OutOfMemory, TimeLimit
from coppice.sandbox import results
from coppice.sandbox.conversation import DISK_ENTRIES, Facts, Stop
from coppice.sandbox.limits import Limits
from coppice.sandbox.words import last_words

MIB = 1024 * 1024

#: Signals of a process that was ended by its own fault.
FAULTS: Final = {
    signal.SIGSEGV: "a memory access fault",
    signal.SIGBUS: "a memory access fault",
    signal.SIGABRT: "an abort",
    signal.SIGILL: "an illegal instruction",
    signal.SIGFPE: "an arithmetic fault",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Everything that a verdict is made of."""

    facts: Facts
    limits: Limits
    box: Path
    out: Path


def verdict(ending: Ending) -> CoppiceError | None:
    """Why there is no result, or None when the job ended as one that has a result does."""
    for question in QUESTIONS:
        error = question(ending)
        if error is not None:
            return error
    return None


def invalid(ending: Ending, what: str) -> JobCrashed:
    """The error of a job that ended well and left nothing that can be used."""
    return JobCrashed(f"The job ended without a valid result: {what}.{_last_words(ending)}")


def _wall_clock(ending: Ending) -> CoppiceError | None:
    if ending.facts.stopped is not Stop.TIME:
        return None
    return TimeLimit(
        f"The job ran longer than {ending.limits.seconds} s (wall clock) and was stopped. If the model is not in an"
        " endless loop, send a smaller one, a smaller sample, or ask the operator for a higher limit (job_seconds)."
    )


def _disk(ending: Ending) -> CoppiceError | None:
    if ending.facts.stopped is Stop.DISK:
        limit = f"{ending.limits.result_bytes // MIB:,} MiB or {DISK_ENTRIES:,} files in all"
    elif ending.facts.status == -signal.SIGXFSZ or results.largest_file(ending.out) >= ending.limits.output_bytes:
        limit = f"{ending.limits.output_bytes // MIB:,} MiB in one file"
    else:
        return None
    return DiskLimit(f"The job wrote more than its limit of {limit} (job_output_bytes).")


def _nonsense(ending: Ending) -> CoppiceError | None:
    if ending.facts.stopped is not Stop.NONSENSE:
        return None
    return JobCrashed(
        "The job was stopped because it wrote something other than progress to its service's channel."
        + _last_words(ending)
    )


def _cpu(ending: Ending) -> CoppiceError | None:
    ended = ending.facts.status in (-signal.SIGXCPU, -signal.SIGKILL)
    # The kernel's signal could be imitated, the time that must have passed could not.
    possible = ending.facts.seconds * (os.cpu_count() or 1) >= ending.limits.cpu_seconds
    # Only what ended by that signal can have been killed for want of memory.
    for_memory = ending.facts.status == -signal.SIGKILL and ending.facts.memory_kills
    if not ended or not possible or for_memory:
        return None
    return TimeLimit(
        f"The job used more than {ending.limits.cpu_seconds} s of CPU time in one process and was stopped. If the"
        " model is not in an endless loop, send a smaller one or ask the operator for a higher limit (job_cpu_seconds)."
    )


def _memory(ending: Ending) -> CoppiceError | None:
    facts = ending.facts
    if not facts.memory_kills or facts.status == 0:
        return None
    # Without a group of the job's own the count is the machine's, and says something of this job only where it fits.
    if not facts.exact:
        words = "The machine ran out of memory and its kernel killed the job. Send a smaller model or input."
        return OutOfMemory(words) if facts.status == -signal.SIGKILL else None
    return OutOfMemory(
        f"The job held more memory than its limit of {ending.limits.memory_bytes // MIB:,} MiB, all its processes and"
        " temporary files together, and was stopped. Send a smaller model or input, or ask the operator for a higher"
        " limit (job_memory_bytes)."
    )


def _own_words(ending: Ending) -> CoppiceError | None:
    return results.failure(ending.out, status=ending.facts.status) if ending.facts.status > 0 else None


def _signal(ending: Ending) -> CoppiceError | None:
    if ending.facts.status >= 0:
        return None
    try:
        number = signal.Signals(-ending.facts.status)
    except ValueError:
        return JobCrashed(f"The job ended with status {128 - ending.facts.status}.{_last_words(ending)}")
    cause = FAULTS.get(number, "not by the service")
    return JobCrashed(f"The job's process was ended by {number.name} ({cause}).{_last_words(ending)}")


def _status(ending: Ending) -> CoppiceError | None:
    if ending.facts.status == 0:
        return None
    return JobCrashed(
        f"The job's process ended with status {ending.facts.status} and gave no valid reason.{_last_words(ending)}"
    )


#: Asked from top to bottom; the first answer is the verdict.
QUESTIONS: Final[tuple[Callable[[Ending], CoppiceError | None], ...]] = (
    _wall_clock,
    _disk,
    _nonsense,
    _cpu,
    _memory,
    _own_words,
    _signal,
    _status,
)


def _last_words(ending: Ending) -> str:
    shown = last_words(ending.facts.stderr, ending.box)
    return f" Its last words:\n{shown}" if shown else ""

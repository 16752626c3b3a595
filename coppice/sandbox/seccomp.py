"""The system calls that a job may make, as a seccomp filter for x86_64 and aarch64.

An allow-list: what `system_calls` does not name is refused, and a call with a number that was not known when the table
was written is answered "no such call", so that a newer C library falls back to what it did before. The 32-bit and x32
doors are shut. Namespaces, or Landlock, are the boundary; the filter takes away what they leave open and what kernel
bugs were found in most.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass
from typing import Final

from coppice.errors import IsolationUnavailable
from coppice.sandbox import system_calls
from coppice.sandbox.system_calls import Numbers

#: The newest call that was looked at (mseal, Linux 6.10). From 424 on all architectures share their numbers.
LAST_REVIEWED: Final = 462

#: name -> numbers. Answered by the kernel.
ALLOWED: Final[dict[str, Numbers]] = {
    name: numbers
    for group in (
        system_calls.FILES,
        system_calls.FOLDERS,
        system_calls.MEMORY,
        system_calls.PROCESSES,
        system_calls.THREADS,
        system_calls.SIGNALS,
        system_calls.TIME,
        system_calls.WAITING,
        system_calls.MACHINE,
    )
    for name, numbers in system_calls.read(group).items()
}

#: Mode, owner and times of files. Where a job sees the folders of its host, these would work on files that Landlock
#: lets nobody open: there, they say that all is well and do nothing.
OWNERSHIP: Final = system_calls.read(system_calls.OWNERSHIP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A call that is allowed when the low half of one argument has one of these values."""

    argument: int
    values: tuple[int, ...]
    error: int


_STREAM, _NONBLOCK, _CLOEXEC = 1, 0o4000, 0o2000000

CHECKS: Final = {
    # Dumpable, seccomp, capabilities, the memory map and others: as a kernel that doesn't know them.
    "prctl": Check(
        argument=0,
        values=(
            *(1, 2),  # PR_SET_PDEATHSIG, PR_GET_PDEATHSIG
            3,  # PR_GET_DUMPABLE
            *(15, 16),  # PR_SET_NAME, PR_GET_NAME
            *(21, 23),  # PR_GET_SECCOMP, PR_CAPBSET_READ
            *(29, 30),  # PR_SET_TIMERSLACK, PR_GET_TIMERSLACK
            *(38, 39),  # PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS
            *(41, 42),  # PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
            0x5356_4D41,  # PR_SET_VMA: names for memory, of malloc
        ),
        error=errno.EINVAL,
    ),
    # Not TIOCSTI and TIOCLINUX, which type on a terminal; as a descriptor that knows no such command.
    "ioctl": Check(
        argument=1,
        values=(
            *(0x5401, 0x802C_542A),  # TCGETS, TCGETS2: is this a terminal?
            0x5413,  # TIOCGWINSZ
            *(0x541B, 0x5421),  # FIONREAD, FIONBIO
            *(0x5450, 0x5451),  # FIONCLEX, FIOCLEX
            0x4004_9409,  # FICLONE: a copy of a file that shares its blocks
        ),
        error=errno.ENOTTY,
    ),
    # Of itself only: the limits of another process of the same user could be set to nothing.
    "prlimit64": Check(argument=0, values=(0,), error=errno.EPERM),
    "sched_setaffinity": Check(argument=0, values=(0,), error=errno.EPERM),
    # A pair of datagram sockets could be pointed at a socket of the host that has a name among its files.
    "socketpair": Check(
        argument=1,
        values=(_STREAM, _STREAM | _CLOEXEC, _STREAM | _NONBLOCK, _STREAM | _CLOEXEC | _NONBLOCK),
        error=errno.EPERM,
    ),
}

#: Processes and threads are made by clone; only with these flags (CLONE_NEW*) does it make namespaces.
NAMESPACE_FLAGS: Final = 0x7E02_0000

_CHECKED: Final = system_calls.read(system_calls.CHECKED)
CLONE: Final = _CHECKED["clone"]

#: clone3 keeps its flags in memory, where a filter can't read them. "No such call" makes libc fall back to clone.
CLONE3: Final = 435

#: platform.machine() -> column of the tables, AUDIT_ARCH of linux/audit.h.
ARCHITECTURES: Final = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}

# struct seccomp_data: number at 0, architecture at 4, arguments of 8 bytes from 16 on (both are little-endian).
_NUMBER, _ARCHITECTURE, _ARGUMENTS, _ARGUMENT_BYTES = 0, 4, 16, 8

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _IF_EQUAL, _IF_GREATER, _IF_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000


def program(machine: str | None = None, *, shared: bool = False) -> bytes:
    """The filter for a machine (this one by default), as the kernel and `bwrap --seccomp` take it.

    `shared`: the job sees the folders of its host, closed as they are.
    """
    machine = platform.machine() if machine is None else machine
    if machine not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise IsolationUnavailable(
            f"no system-call filter for the architecture {machine!r} (there is one for {known})."
            " Run the service there, or start it with --isolation none."
        )
    column, audit = ARCHITECTURES[machine]
    code = [
        _step(_LOAD, _ARCHITECTURE),
        *_answer(_IF_EQUAL, audit, _KILL_PROCESS, unless=True),
        _step(_LOAD, _NUMBER),
        *_answer(_IF_GREATER, LAST_REVIEWED, _ERRNO | errno.ENOSYS),
        *_answer(_IF_EQUAL, CLONE3, _ERRNO | errno.ENOSYS),
    ]
    for calls, action in ((ALLOWED, _ALLOW), (OWNERSHIP, _ERRNO if shared else _ALLOW)):
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                code += _answer(_IF_EQUAL, number, action)
    for name, check in CHECKS.items():
        code += _when(_CHECKED[name][column], _checked(check))
    code += _when(
        CLONE[column],
        [_argument(0), *_answer(_IF_SET, NAMESPACE_FLAGS, _ERRNO | errno.EPERM), _step(_RETURN, _ALLOW)],
    )
    return b"".join([*code, _step(_RETURN, _ERRNO | errno.EPERM)])


def _checked(check: Check) -> list[bytes]:
    good = [step for value in check.values for step in _answer(_IF_EQUAL, value, _ALLOW)]
    return [_argument(check.argument), *good, _step(_RETURN, _ERRNO | check.error)]


def _argument(index: int) -> bytes:
    return _step(_LOAD, _ARGUMENTS + _ARGUMENT_BYTES * index)


def _when(number: int | None, steps: list[bytes]) -> list[bytes]:
    """The steps for one call, each way through which ends in an answer."""
    return [] if number is None else [_step(_IF_EQUAL, number, when_false=len(steps)), *steps]


def _answer(test: int, value: int, action: int, *, unless: bool = False) -> list[bytes]:
    """Return `action` when the test holds (or, with `unless`, when it does not), else go on."""
    return [_step(test, value, when_true=int(unless), when_false=int(not unless)), _step(_RETURN, action)]


def _step(operation: int, value: int, *, when_true: int = 0, when_false: int = 0) -> bytes:
    """One struct sock_filter; the two jumps say how many steps to skip."""
    return struct.pack("=HBBI", operation, when_true, when_false, value)

"""The system calls that a job may not make, as a seccomp filter for x86_64 and aarch64.

A deny-list, closed at the end: a call with a number that was not known when the table was written is answered
"no such call", so a newer kernel opens nothing. The 32-bit and x32 doors are shut. Namespaces are the boundary;
the filter takes away what they leave open and what kernel bugs were found in most.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

from coppice.errors import IsolationUnavailable

#: The newest call that was looked at (mseal, Linux 6.10). From 424 on all architectures share their numbers.
LAST_REVIEWED: Final = 462

#: name -> number on x86_64, number on aarch64 (None: not there). Answered EPERM.
DENIED: Final[dict[str, tuple[int, int | None]]] = {
    # No network, not even unconnected sockets. socketpair stays: it reaches only the job's own processes.
    "socket": (41, 198),
    # Reading or steering another process.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # Mounts and namespaces: a new user namespace would hand out capabilities again.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),  # tells where the host keeps what is mounted here
    "listmount": (458, 458),
    # Memory that no limit of the address space counts.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # Large, seldom needed, and the home of many kernel bugs.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    # The machine's own administration: refused to an unprivileged user anyway.
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}

#: clone3 keeps its flags in memory, where a filter can't read them. "No such call" makes libc fall back to clone.
CLONE3: Final = 435

#: Processes and threads are made by clone; only with these flags (CLONE_NEW*) does it make namespaces.
CLONE: Final = (56, 220)
NAMESPACE_FLAGS: Final = 0x7E02_0000

#: platform.machine() -> column of the tables, AUDIT_ARCH of linux/audit.h.
ARCHITECTURES: Final = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}

# struct seccomp_data: number at 0, architecture at 4, low half of the first argument at 16 (both are little-endian).
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _IF_EQUAL, _IF_GREATER, _IF_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000


def program(machine: str | None = None) -> bytes:
    """The filter for a machine (this one by default), as the kernel and `bwrap --seccomp` take it."""
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
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            code += _answer(_IF_EQUAL, number, _ERRNO | errno.EPERM)
    code += [
        _step(_IF_EQUAL, CLONE[column], when_true=1),
        _step(_RETURN, _ALLOW),
        _step(_LOAD, _FIRST_ARGUMENT),
        *_answer(_IF_SET, NAMESPACE_FLAGS, _ERRNO | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(code)


def _answer(test: int, value: int, action: int, *, unless: bool = False) -> list[bytes]:
    """Return `action` when the test holds (or, with `unless`, when it does not), else go on."""
    return [_step(test, value, when_true=int(unless), when_false=int(not unless)), _step(_RETURN, action)]


def _step(operation: int, value: int, *, when_true: int = 0, when_false: int = 0) -> bytes:
    """One struct sock_filter; the two jumps say how many steps to skip."""
    return struct.pack("=HBBI", operation, when_true, when_false, value)

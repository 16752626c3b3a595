"""What a job must not be able to do, tried from inside before the first job comes: a table of attacks.

Each is an expression that succeeds when the attack does and raises OSError when it is contained. All are harmless where
they succeed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final

#: name -> expression over `kernel` (a system call by its number on x86_64 and aarch64), `service` (the process id of
#: the service), `secret` (a file of another job) and what is imported below.
PROBES: Final[Mapping[str, str]] = {
    # First, since some of the others open what they don't close.
    "descriptors of the service": "[os.fstat(number) for number in range(3, 4096) if held(number)][0]",
    "a file of the system": "open('/etc/passwd').read()",
    "the list of folders": "os.listdir('/home')",
    "another job's folder": "open(secret).read()",
    "the service's environment": "open(f'/proc/{service}/environ').read()",
    "the service's memory": "open(f'/proc/{service}/mem', 'rb')",
    "writing to the system": "os.open('/', os.O_TMPFILE | os.O_WRONLY)",
    "writing to the libraries": "open(os.__file__, 'a')",
    "a network socket": "socket.socket(socket.AF_INET)",
    "a local socket": "socket.socket(socket.AF_UNIX)",
    "a pair of datagram sockets": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "a signal to the service": "os.kill(service, 0)",
    "the service's limits": "resource.prlimit(service, resource.RLIMIT_NOFILE)",
    "the service's priority": "os.setpriority(os.PRIO_PROCESS, service, os.getpriority(os.PRIO_PROCESS, service))",
    "tracing": "kernel(101, 117, 0x4206, service, 0, 0)",
    "reading another's memory": "kernel(310, 270, service, 0, 0, 0, 0, 0)",
    "another's descriptors": "kernel(438, 438, os.pidfd_open(service), 0, 0)",
    "a namespace by clone": "kernel(56, 220, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0)",
    "a mount": "kernel(430, 430, b'tmpfs', 0)",
    "another user": "os.setuid(0)",
    "memory outside the limits": "os.memfd_create('probe')",
    "shared memory outside the limits": "kernel(31, 195, kernel(29, 194, 0, 4096, 0o1600), 0, 0)",
    "io_uring": "kernel(425, 425, 1, 0)",
    "userfaultfd": "kernel(323, 282, 1)",
    "bpf": "kernel(321, 280, 0, 0, 0)",
    "perf_event_open": "kernel(298, 241, 0, 0, -1, -1, 0)",
    "the kernel's keys": "kernel(250, 219, 0, -3, 0)",
    "typing on a terminal": "fcntl.ioctl(0, termios.TIOCSTI, b'x')",
    # Last, since it would change who asks.
    "a user namespace": "kernel(272, 97, 0x10000000)",
}

_SCRIPT: Final = """
import ctypes, fcntl, json, os, platform, resource, socket, sys, termios
import coppice.records.request
libc = ctypes.CDLL(None, use_errno=True)
service, secret, probes = json.loads(sys.argv[1])

def kernel(x86_64, aarch64, *arguments):
    number = x86_64 if platform.machine() == "x86_64" else aarch64
    result = libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def held(number):
    try:
        return os.fstat(number)
    except OSError:
        return None

def outcome(probe):
    try:
        eval(probe)
    except (OSError, IndexError) as e:
        return type(e).__name__
    return ""

print(json.dumps({name: outcome(probe) for name, probe in probes.items()}))
"""


def command(python: str, secret: str, tried: Mapping[str, str] = PROBES) -> tuple[str, ...]:
    """What to run in a sandbox; it prints JSON: name of a probe -> what it failed with, "" where it succeeded."""
    told = json.dumps([os.getpid(), secret, dict(tried)])
    return (python, "-I", "-B", "-c", _SCRIPT, told)

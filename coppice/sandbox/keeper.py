"""The process around a job where there are no namespaces: `python -I -S keeper.py PLAN LEASH`, two descriptors.

PLAN is a file with JSON: what the job may read, write and use, and its command. LEASH is a pipe that nobody writes to;
when its other end is closed, by the service or by the service's death, the job ends with all that it started. This
file is run by itself, in an empty environment: it imports nothing of coppice.

The keeper enters a Landlock domain in which it can signal nobody outside, and the job one inside of that. So "kill
everybody" reaches the job and all its descendants, in whatever session or group, at one moment and nobody else; and
the job can't signal the keeper. Orphans become the keeper's children, so it knows when the last one is dead.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Iterable
from typing import Any, Final

#: Landlock that also confines signals and abstract sockets: Linux 6.12.
NEEDED_ABI: Final = 6

# The same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_FIFO, _MAKE_SYM, _REFER, _TRUNCATE = 1 << 10, 1 << 12, 1 << 13, 1 << 14
_OF_FILES = (1 << 16) - 1  # up to IOCTL_DEV, ABI 5
_OF_NETWORK = 0b11  # bind and connect, TCP
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICE = _READ_FILE | _WRITE_FILE
_WRITE = _DEVICE | _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
_WRITE |= _MAKE_FIFO | _MAKE_SYM | _REFER | _TRUNCATE
#: Those that a rule for something other than a folder may have.
_FILE_ONLY = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE

# linux/prctl.h and linux/capability.h
_SET_PDEATHSIG, _SET_SECCOMP, _CAPBSET_DROP, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 22, 24, 36, 38
_FILTER = 2
_KILL, _SETGID, _SETUID = 5, 6, 7
_CAPABILITIES = 64

_SHELL_SIGNAL = 128
#: The exit status where the sandbox itself could not be made.
BROKEN: Final = 71

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """The version of Landlock in this kernel; 0 where there is none or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION)))


def main(plan_descriptor: int, leash: int) -> int:
    """Start the job, wait for its end or for the leash, kill what is left; the job's status as a shell gives it."""
    with os.fdopen(plan_descriptor, encoding="utf-8") as file:
        plan: dict[str, Any] = json.load(file)
    user: int | None = plan["user"]
    if user is not None:
        _need_capabilities()
    _prctl(_SET_CHILD_SUBREAPER, 1)
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _restrict(_ruleset(files=0, network=0))
    _check_alone()
    job = os.fork()
    if job == 0:
        _become(plan, user)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    return _end(_status(job, leash))


def _status(job: int, leash: int) -> int:
    """The job's wait status, once it and all that it started are dead."""
    poll = select.poll()
    poll.register(leash, select.POLLIN)
    poll.register(os.pidfd_open(job), select.POLLIN)
    poll.poll()
    with contextlib.suppress(ProcessLookupError):  # nobody is left
        os.kill(-1, signal.SIGKILL)
    status = 0
    while True:
        try:
            pid, ended = os.wait()
        except ChildProcessError:
            return status
        if pid == job:
            status = ended


def _end(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _SHELL_SIGNAL - code


def _become(plan: dict[str, Any], user: int | None) -> None:
    """Turn this process into the job."""
    try:
        os.setsid()
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123  no pathlib needed here
            file.write(plan["oom_score_adj"])
        for number, (soft, hard) in plan["limits"]:
            resource.setrlimit(number, (soft, hard))
        if user is not None:
            _drop_to(user)
        # After the change of user, which clears it. The keeper dies by nobody's hand but the operator's.
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        os.umask(0o022)
        os.chdir(plan["folder"])
        ruleset = _ruleset(files=_OF_FILES, network=_OF_NETWORK)
        for paths, rights in ((plan["readable"], _READ), (plan["devices"], _DEVICE), (plan["writable"], _WRITE)):
            _allow(ruleset, paths, rights)
        _restrict(ruleset)
        os.closerange(3, 1 << 20)
        _filter(base64.b64decode(plan["filter"]))
        os.execve(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606  our own command line
    except BaseException as e:  # noqa: BLE001  this process is a copy: nothing of the keeper may go on in it
        os.write(2, f"landlock: {type(e).__name__}: {e}\n".encode("utf-8", "replace"))
    finally:
        os._exit(BROKEN)


def _drop_to(user: int) -> None:
    for capability in range(_CAPABILITIES):
        _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)  # of those that this kernel has and we may drop
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _ruleset(*, files: int, network: int) -> int:
    attributes = struct.pack("=QQQ", files, network, _ABSTRACT_SOCKETS | _SIGNALS)
    return _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)


def _allow(ruleset: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = rights if os.path.isdir(path) else rights & _FILE_ONLY  # noqa: PTH112
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), 0)
        os.close(descriptor)


def _restrict(ruleset: int) -> None:
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _check_alone() -> None:
    """Make sure that "kill everybody" will not reach the service: before there is anybody to be killed."""
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return
    raise OSError(errno.ENOSYS, "Landlock does not keep signals inside")


def _need_capabilities() -> None:
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        held = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    if any(not held >> capability & 1 for capability in (_KILL, _SETGID, _SETUID)):
        raise OSError(errno.EPERM, "root without the capabilities KILL, SETGID and SETUID can't contain a job")


def _filter(program: bytes) -> None:
    steps = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog
    _prctl(_SET_SECCOMP, _FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(steps)))


def _call(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(number, *arguments))


def _prctl(option: int, value: int, more: object = 0) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), more, 0, 0))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
    except OSError as error:
        sys.stderr.write(f"landlock: {error}\n")
        sys.exit(BROKEN)

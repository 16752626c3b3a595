"""What a class file reaches for from inside a job, one line of Python each, and the code that tries all of them.

A probe that reaches something ends well; one that is held ends in an error of the system, or gives False. What each
came to leaves the job in the message of its failure, as one word per probe.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: How the kernel says no: there is no such thing here, or it is not for you.
NO: Final = frozenset({"held", "EPERM", "EACCES", "ENOENT", "ESRCH", "EROFS", "ENOSYS"})


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A line of code, and the answers with which it may end inside a job."""

    code: str
    answers: frozenset[str] = NO
    #: Whether it is safe to try outside of all walls, where it must reach what it is for.
    safe: bool = True


@dataclass(frozen=True, kw_only=True)
class Target:
    """What there is to reach: a service, another job that runs in it, one that has ended."""

    data: str
    #: The running job's box, and its process as the machine knows it.
    victim: str
    victim_pid: int
    result: str
    #: The processes of the service.
    pids: tuple[int, ...]
    port: int
    #: A listener outside: its port, its path and its name without a path.
    listener: int
    path: str
    name: str
    #: A word that stands in the service's environment only.
    secret: str
    #: What files that a probe leaves anywhere are called.
    mark: str


def read(path: str) -> Probe:
    """Read the first bytes of a file."""
    return Probe(code=f"open(f'{path}', 'rb').read(9)")


def write(path: str) -> Probe:
    """Open a file for writing, without changing it."""
    return Probe(code=f"open(f'{path}', 'ab').close()", safe=False)


def call(number: int, *arguments: object, safe: bool = True) -> Probe:
    """A system call by its number on x86_64, with arguments that the kernel would take."""
    return Probe(code=f"call({', '.join(map(str, (number, *arguments)))})", safe=safe)


REACHED: Final = frozenset({"reached"})

FILES: Final[Mapping[str, Probe]] = {
    "what another running job wrote": read("{victim}/out/secret"),
    "what another running job was sent": read("{victim}/in/weights/small.pth"),
    "what another running job was asked": read("{victim}/request.json"),
    "where another running job writes": Probe(code="os.listdir(f'{victim}/out')"),
    "the boxes of all jobs": Probe(code="os.listdir(os.path.dirname(victim))"),
    "the folders of all workers": Probe(code="sorted(set(os.listdir(f'{data}/work')) - set(OWN.split('/'))) or False"),
    "the memory of another running job": Probe(code="open(f'/proc/{victim_pid}/mem', 'rb').close()"),
    "the environment of another running job": read("/proc/{victim_pid}/environ"),
    "the results of a job that has ended": read("{result}"),
    "the database": read("{data}/coppice.sqlite"),
    "the data folder": Probe(code="sorted(set(os.listdir(data)) - {'work'}) or False"),
    "the store": Probe(code="os.listdir(f'{data}/store')"),
    "the service's log": read("{data}/../serve.log"),
    "the database through the job's own folder": read("{OWN}/../../../../coppice.sqlite"),
    "the environment of the service": Probe(code="[open(f'/proc/{pid}/environ').read(9) for pid in pids]"),
    "the files that the service has open": Probe(code="[os.listdir(f'/proc/{pid}/fd') for pid in pids]"),
    "the memory of the service": Probe(code="[open(f'/proc/{pid}/maps').read(9) for pid in pids]"),
    "the root of the service": Probe(code="[os.listdir(f'/proc/{pid}/root/etc') for pid in pids]"),
    "the first process": Probe(code="open('/proc/1/environ').read(9)", safe=False),
    "a secret of the service in the job's environment": Probe(code="secret in repr(os.environ)"),
    "a secret of the service in any environment": Probe(code="any(secret in seen for seen in environments())"),
    "descriptors that the job was not given": Probe(code="inherited() or False", safe=False),
    "the passwords": read("/etc/shadow"),
    "the users": read("/etc/passwd"),
    "root's folder": Probe(
        code="sorted(set(os.listdir('/root')) - set(os.path.realpath(sys.executable).split('/'))) or False"
    ),
    "the homes": Probe(code="os.listdir('/home')"),
    "the logs": Probe(code="os.listdir('/var/log')"),
    "the host's temporary files": Probe(code="[n for n in os.listdir('/tmp') if n.startswith('coppice-')] or False"),
    "the disks": Probe(code="[open(disk, 'rb').close() for disk in glob('/dev/[nsv][dv][ame]*')] or False", safe=False),
    "the kernel's memory": Probe(code="open('/dev/mem', 'rb')", safe=False),
    "the kernel's log": Probe(code="open('/dev/kmsg', 'rb').close()", safe=False),
    "the job's own upload, to write": write("{OWN}/in/weights/small.pth"),
    "the job's own code, to write": write("{__file__}"),
    "the job's request, to write": write("{OWN}/request.json"),
    "the job's box, to write": write("{OWN}/{mark}"),
    "the box of another running job, to write": write("{victim}/out/{mark}"),
    "torch, to write": write("{torch.__file__}"),
    "new packages": write("{os.path.dirname(torch.__path__[0])}/{mark}.py"),
    "coppice, to write": write("{coppice.__file__}"),
    "Python, to write": write("{os.path.realpath(sys.executable)}"),
    "the system, to write": write("/usr/bin/{mark}"),
    "its settings, to write": write("/etc/{mark}"),
    "its root, to write": write("/{mark}"),
    "the store, to write": write("{data}/store/{mark}"),
    "the kernel's settings": write("/proc/sys/kernel/core_pattern"),
    "the kernel's emergency keys": write("/proc/sysrq-trigger"),
    "control groups": Probe(
        code="[open(p, 'a').close() for p in glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True)] or False",
        safe=False,
    ),
    "a device of its own": Probe(code="os.mknod(f'{OWN}/out/device', 0o20666, os.makedev(1, 1))", safe=False),
    "a temporary file": Probe(code="open(f'/tmp/{mark}', 'w').close()", answers=NO | REACHED, safe=False),
    "a file in shared memory": Probe(code="open(f'/dev/shm/{mark}', 'w').close()", answers=NO | REACHED, safe=False),
    "a folder of its own": Probe(code="os.mkdir(f'{OWN}/out/{mark}')", answers=REACHED, safe=False),
}

NETWORK: Final[Mapping[str, Probe]] = {
    "the service by TCP": Probe(code="socket.create_connection(('127.0.0.1', port), 5)"),
    "a listener by TCP": Probe(code="socket.create_connection(('127.0.0.1', listener), 5)"),
    "a TCP socket": Probe(code="socket.socket()"),
    "a TCP socket of version 6": Probe(code="socket.socket(socket.AF_INET6)"),
    "a listener of its own": Probe(code="socket.create_server(('127.0.0.1', 0))"),
    "a UDP socket": Probe(code="socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))"),
    "a unix socket": Probe(code="socket.socket(socket.AF_UNIX).connect(path)"),
    "a unix socket without a path": Probe(code="socket.socket(socket.AF_UNIX).connect(chr(0) + name)"),
    "a raw socket": Probe(code="socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    "the network's cards": Probe(code="socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)"),
    "the kernel's netlink": Probe(code="socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    "the kernel's ciphers": Probe(code="socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)", safe=False),
    "a machine's host": Probe(code="socket.socket(socket.AF_VSOCK)", safe=False),
    "a name's address": Probe(code="socket.gethostbyname('localhost.')", answers=NO | {"gaierror"}, safe=False),
    "a pair of sockets": Probe(code="[end.close() for end in socket.socketpair()]", answers=REACHED),
}


def each(code: str) -> Probe:
    """Do something to every process of the service and to the other job; reached if one of them lets it."""
    return Probe(code=f"each(lambda pid: {code})")


PROCESSES: Final[Mapping[str, Probe]] = {
    "a signal": each("os.kill(pid, 0)"),
    "a signal to a thread": each("call(234, pid, pid, 0)"),
    "a signal by a handle": each("call(424, call(434, pid, 0), 0, 0, 0)"),
    "a file of another process": each("call(438, call(434, pid, 0), 0, 0)"),
    "its trace": each("call(101, 0x4206, pid, 0, 0)"),
    "its memory, to read": Probe(code="each(lambda pid: copied(310, pid))", safe=False),
    "its memory, to write": Probe(code="each(lambda pid: copied(311, pid))", safe=False),
    "its cores": each("os.sched_setaffinity(pid, os.sched_getaffinity(pid))"),
    "its priority": each("os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))"),
    "its limits": each("resource.prlimit(pid, resource.RLIMIT_CORE)"),
    "its name": each("open(f'/proc/{pid}/comm').read()"),
    "its score, to write": each("open(f'/proc/{pid}/oom_score_adj', 'a').close()"),
    "its root": each("os.chdir(f'/proc/{pid}/root')"),
    "a trace of its own parent": Probe(code="call(101, 0, 0, 0, 0)", safe=False),
    "another user": Probe(code="os.setuid(0)", answers=NO | {"EINVAL"}),
    "another group": Probe(code="os.setgid(0)", answers=NO | {"EINVAL"}),
    "more groups": Probe(code="os.setgroups([0])", answers=NO | {"EINVAL"}),
    "being root": Probe(code="os.getuid() == 0"),
    "capabilities": Probe(code="any(capabilities())"),
    "setuid programs": Probe(code="libc.prctl(39, 0, 0, 0, 0) != 1"),
    "a life without a filter": Probe(code="libc.prctl(21, 0, 0, 0, 0) != 2"),
    "a core file": Probe(code="resource.getrlimit(resource.RLIMIT_CORE)[1] != 0"),
    "higher limits": Probe(
        code="resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))", answers=NO | {"ValueError"}, safe=False
    ),
    "a child": Probe(code="os.waitpid(os.fork() or os._exit(0), 0)[1] != 0 or 'child'", answers=REACHED),
    "a thread": Probe(
        code="[thread.start() or thread.join() for thread in [threading.Thread(target=print)]]", answers=REACHED
    ),
}

KERNEL: Final[Mapping[str, Probe]] = {
    "a user namespace": Probe(code="forked(lambda: call(272, 0x10000000))"),
    "a mount namespace": Probe(code="forked(lambda: call(272, 0x00020000))"),
    "a network namespace": Probe(code="forked(lambda: call(272, 0x40000000))"),
    "a process in a user namespace": Probe(code="forked(lambda: call(56, 0x10000011, 0, 0, 0, 0) or os._exit(0))"),
    "clone3": Probe(code="call(435, 0, 0)", answers=frozenset({"ENOSYS"}), safe=False),
    "another's namespace": Probe(code="call(308, os.open('/proc/self/ns/user', 0), 0)", safe=False),
    "a mount": Probe(code="forked(lambda: call(165, b'none', b'/tmp', b'tmpfs', 0, 0))", safe=False),
    "an unmount": call(166, "b'/tmp'", 0, safe=False),
    "another root": Probe(code="forked(lambda: os.chroot('/usr'))"),
    "a pivot": call(155, "b'/tmp'", "b'/tmp'", safe=False),
    "a copy of a mount": call(428, -100, "b'/'", 1),
    "a file system": call(430, "b'tmpfs'", 0),
    "the attributes of a mount": call(442, -100, "b'/'", 0, "bytes(32)", 32),
    "a file by its handle": call(304, -100, "bytes(32)", 0, safe=False),
    "a watch over all files": call(300, 0, 0, safe=False),
    "keyrings": call(250, 0, -3, 1),
    "a key": call(248, "b'user'", "b'mine'", "b'x'", 1, -3),
    "somebody's key": call(249, "b'user'", "b'mine'", 0, -3),
    "io_uring": call(425, 8, "bytes(120)"),
    "userfaultfd": call(323, 1),
    "a program in the kernel": call(
        321, 0, "(2).to_bytes(4, 'little') + bytes((4, 0, 0, 0, 4, 0, 0, 0, 1)) + bytes(115)", 128
    ),
    "a performance counter": call(
        298, "(1).to_bytes(4, 'little') + (128).to_bytes(4, 'little') + bytes(120)", 0, -1, -1, 0
    ),
    "another personality": Probe(code="forked(lambda: call(135, 0x0040000))"),
    "memory without a file": call(319, "b'x'", 0),
    "secret memory": call(447, 0, safe=False),
    "shared memory": call(29, 0, 4096, "0o1600", safe=False),
    "a message queue": call(68, 0, "0o1600", safe=False),
    "a named message queue": call(240, "b'coppice-probe'", "0o102", "0o600", 0, safe=False),
    "semaphores": call(64, 0, 1, "0o1600", safe=False),
    "a kernel module": call(175, "b'x'", 1, "b''", safe=False),
    "the end of a kernel module": call(176, "b'coppice-no-such-module'", 0, safe=False),
    "another kernel": call(246, 0, 0, 0, 0, safe=False),
    "the machine's end": call(169, 0, 0, 0, 0, safe=False),
    "the machine's name": call(170, "b'x'", 1, safe=False),
    "the machine's clock": Probe(code="call(227, 0, struct.pack('qq', -1, -1))", safe=False),
    "ports of the machine": Probe(code="forked(lambda: call(172, 3))", safe=False),
    "segments of memory": call(154, 1, "bytes(16)", 16, safe=False),
    "swap": call(167, "b'/dev/null'", 0, safe=False),
    "accounting": call(163, 0, safe=False),
    "quotas": call(179, 0x80000100, 0, 0, 0, safe=False),
    "the kernel's log by a call": call(103, 10, 0, 0),
    "a call from the future": Probe(code="call(600)", answers=frozenset({"ENOSYS"}), safe=False),
}

GROUPS: Final = {"files": FILES, "network": NETWORK, "processes": PROCESSES, "kernel": KERNEL}

_CODE = """
import ctypes, errno, json, os, resource, socket, stat, struct, sys, threading
from glob import glob
import coppice
import torch
globals().update(json.loads({target!r}))
OWN = os.path.abspath(__file__).rpartition("/in/")[0]
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    ctypes.set_errno(0)
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    libc.syscall.restype = ctypes.c_long
    answer = libc.syscall(ctypes.c_long(number), *plain)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer

def forked(action):
    # In a child, since it would change the process that goes on; its exit status is the error's number.
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
        except BaseException:
            os._exit(255)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number:
        raise OSError(number, "in a child")
    return "in a child"

def each(action):
    last = None
    for pid in (*pids, victim_pid):
        try:
            return action(pid), pid
        except OSError as e:
            last = e
    raise last

def copied(number, pid):
    with open("/proc/self/maps") as maps:
        at = int(maps.read().partition("-")[0], 16)
    here = ctypes.create_string_buffer(8)
    local = struct.pack("QQ", ctypes.addressof(here), 8)
    return call(number, pid, local, 1, struct.pack("QQ", at, 8), 1, 0)

def environments():
    for path in glob("/proc/[0-9]*/environ") + glob("/proc/self/environ"):
        try:
            yield open(path, "rb").read().decode("utf-8", "replace")
        except OSError:
            pass

def inherited():
    # Pipes are the job's own; a socket, a folder or a file of elsewhere would be the service's.
    for number in range(1024):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            continue
        if stat.S_ISSOCK(kind) or stat.S_ISDIR(kind) or stat.S_ISBLK(kind):
            return number, oct(kind)

def capabilities():
    data = ctypes.create_string_buffer(24)
    call(125, struct.pack("II", 0x20080522, 0), data)
    return struct.unpack("6I", data.raw)

def answer(action):
    try:
        got = action()
    except OSError as e:
        return errno.errorcode.get(e.errno, type(e).__name__), ""
    except BaseException as e:
        return type(e).__name__, ""
    return ("held", "") if got is False else ("reached", repr(got)[:60])

def answers():
    return [answer(action) for action in [
{lambdas}
    ]]
"""

#: What makes the class file tell.
TELL: Final = """
found = answers()
told = " | ".join(told for _, told in found if told)
raise RuntimeError(f"< {' '.join(word for word, _ in found)} > {told[:300]}")
"""


def program(probes: Mapping[str, Probe], target: Target) -> str:
    """The functions that try the probes, for the top of a class file or a process of its own."""
    lambdas = textwrap.indent("\n".join(f"lambda: {probe.code}," for probe in probes.values()), " " * 8)
    return _CODE.format(target=json.dumps(vars(target)), lambdas=lambdas)


def told(probes: Mapping[str, Probe], message: str) -> dict[str, str]:
    """What each probe came to, from the message of a job; raises AssertionError where it is not all there."""
    found = re.search(r"< ([\w ]+) >", message)
    words = [] if found is None else found[1].split()
    assert len(words) == len(probes), message
    return dict(zip(probes, words, strict=True))

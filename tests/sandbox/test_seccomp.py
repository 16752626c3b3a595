"""The filter: its numbers against the kernel's own headers, its logic by running it, its effect by making the calls."""

from __future__ import annotations

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from coppice.errors import IsolationUnavailable
from coppice.sandbox import seccomp

from .conftest import Lab

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}

ALLOWED = 0x7FFF_0000
KILLED = 0x8000_0000


def decision(machine: str, number: int, first_argument: int = 0, audit: int | None = None) -> int:
    """What the filter answers to one call: an interpreter of classic BPF, written from its manual page."""
    call = struct.pack(
        "=iIQ6Q",
        number,
        seccomp.ARCHITECTURES[machine][1] if audit is None else audit,
        0,
        first_argument,
        *(0,) * 5,
    )
    program = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    counter = accumulator = 0
    while True:
        operation, when_true, when_false, value = program[counter]
        counter += 1
        match operation:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                (accumulator,) = struct.unpack_from("=I", call, value)
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                counter += when_true if accumulator == value else when_false
            case 0x25:  # BPF_JMP | BPF_JGT | BPF_K
                counter += when_true if accumulator > value else when_false
            case 0x45:  # BPF_JMP | BPF_JSET | BPF_K
                counter += when_true if accumulator & value else when_false
            case 0x06:  # BPF_RET | BPF_K
                return int(value)
            case _:
                raise AssertionError(f"not an instruction of ours: {operation:#x}")


def refused(error: int) -> int:
    return 0x0005_0000 | error


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = next((Path(path) for path in HEADERS[machine] if Path(path).exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    pattern = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)")
    numbers = {name: int(number) for name, number in pattern.findall(header.read_text())}
    column = seccomp.ARCHITECTURES[machine][0]
    newer = {"statmount", "listmount"}  # of Linux 6.8, in no long-term distribution's headers yet
    for name, denied in seccomp.DENIED.items():
        if name not in newer or name in numbers:
            assert (name, numbers.get(name)) == (name, denied[column])
    assert numbers["clone"] == seccomp.CLONE[column]
    assert numbers["clone3"] == seccomp.CLONE3


@pytest.mark.parametrize("machine", HEADERS)
def test_every_denied_call_is_refused_and_its_neighbours_are_not(machine: str) -> None:
    column = seccomp.ARCHITECTURES[machine][0]
    denied = {numbers[column] for numbers in seccomp.DENIED.values()}
    for number in range(seccomp.LAST_REVIEWED + 1):
        if number in denied:
            assert decision(machine, number) == refused(errno.EPERM), number
        elif number != seccomp.CLONE3:
            assert decision(machine, number) == ALLOWED, number


@pytest.mark.parametrize("machine", HEADERS)
def test_calls_that_nobody_has_looked_at_do_not_exist(machine: str) -> None:
    for number in (seccomp.CLONE3, seccomp.LAST_REVIEWED + 1, 512, 1000, -1, 0x4000_0000, 0x4000_0029):
        assert decision(machine, number) == refused(errno.ENOSYS)


@pytest.mark.parametrize("machine", HEADERS)
def test_clone_makes_processes_and_threads_but_no_namespaces(machine: str) -> None:
    clone = seccomp.CLONE[seccomp.ARCHITECTURES[machine][0]]
    fork, thread = 0x0120_0011, 0x003D_0F00
    assert decision(machine, clone, fork) == ALLOWED
    assert decision(machine, clone, thread) == ALLOWED
    for bit in (17, 25, 26, 27, 28, 29, 30):  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
        assert decision(machine, clone, fork | 1 << bit) == refused(errno.EPERM)


def test_calls_of_another_architecture_kill() -> None:
    assert decision("x86_64", 0, audit=0x4000_0003) == KILLED  # i386
    assert decision("aarch64", 0, audit=0x4000_0028) == KILLED  # arm


def test_an_architecture_without_a_table_is_refused_aloud() -> None:
    with pytest.raises(IsolationUnavailable, match="riscv64"):
        seccomp.program("riscv64")


def test_the_kernel_answers_as_the_table_says(lab: Lab) -> None:
    if platform.machine() not in HEADERS:
        pytest.skip("no table for this machine")
    column = seccomp.ARCHITECTURES[platform.machine()][0]
    numbers = {name: pair[column] for name, pair in seccomp.DENIED.items() if pair[column] is not None}
    # Arguments that no call would find valid: an allowed one would fail with EFAULT, EINVAL or ENOSYS.
    answers = lab.found(
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(number):\n"
        "    ctypes.set_errno(0)\n"
        "    return libc.syscall(number, -1, -1, -1, -1, -1, -1), ctypes.get_errno()\n"
        f"tell({{name: call(number) for name, number in {numbers!r}.items()}})"
    )
    assert answers == {name: [-1, errno.EPERM] for name in numbers}


def test_a_job_cannot_make_a_namespace_of_its_own(lab: Lab) -> None:
    found = lab.found(
        "import subprocess\n"
        "run = lambda flag: subprocess.run(['unshare', flag, 'true'], capture_output=True).returncode\n"
        "tell([run(flag) for flag in ('-U', '-m', '-n')])"
    )
    assert 0 not in found

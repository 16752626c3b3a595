"""Every limit holds, and the verdict names it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from coppice.errors import DiskLimit, JobCrashed, OutOfMemory, TimeLimit
from coppice.sandbox import verdict
from coppice.sandbox.conversation import Facts
from coppice.sandbox.limits import Limits

from .conftest import MIB, Lab, processes

LIMITS = Limits(memory_bytes=64 * MIB, seconds=9, cpu_seconds=5, output_bytes=MIB, processes=8)


def test_an_endless_wait_ends_at_the_wall_clock_limit(any_lab: Lab) -> None:
    started = time.monotonic()
    with pytest.raises(TimeLimit, match=r"longer than 1 s \(wall clock\)"):
        any_lab.run("import time; time.sleep(60)", job_seconds=1)
    assert 1 <= time.monotonic() - started < 30


def test_an_endless_loop_ends_at_the_cpu_limit(any_lab: Lab) -> None:
    with pytest.raises(TimeLimit, match="more than 1 s of CPU time"):
        any_lab.run("while True: pass", job_cpu_seconds=1)


@pytest.mark.slow
def test_a_loop_that_ignores_signals_ends_all_the_same(lab: Lab) -> None:
    body = (
        "import signal\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)\n"
        "while True: pass"
    )
    with pytest.raises(TimeLimit, match="CPU time"):
        lab.run(body, job_cpu_seconds=1)


def test_the_cpu_signal_alone_is_not_believed(lab: Lab) -> None:
    with pytest.raises(JobCrashed, match="SIGXCPU"):
        lab.run("import signal; os.kill(os.getpid(), signal.SIGXCPU)", job_cpu_seconds=500)


@pytest.mark.parametrize(
    "allocation", ["bytearray(100 << 30)", "__import__('mmap').mmap(-1, 100 << 30)"], ids=["private", "shared"]
)
def test_a_hundred_gigabytes_are_refused(any_lab: Lab, allocation: str) -> None:
    with pytest.raises(JobCrashed, match=r"MemoryError|Cannot allocate memory"):
        any_lab.run(f"held = {allocation}")


def test_memory_in_small_pieces_is_refused_too(lab: Lab) -> None:
    found = lab.found(
        "import mmap\n"
        "held = []\n"
        "while True:\n"
        "    try: held.append(mmap.mmap(-1, 1 << 24))\n"
        "    except OSError: tell(len(held) << 24)",
        job_memory_bytes=512 * MIB,
    )
    assert 256 * MIB < found < 512 * MIB


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_temporary_files_are_no_way_around_the_memory_limit(lab: Lab, folder: str) -> None:
    if lab.isolation == "landlock":
        pytest.skip("temporary files are on disk there, and count as what the job writes")
    found = lab.found(
        "written = 0\n"
        "try:\n"
        f"    for number in range(64):\n"
        f"        with open('{folder}/' + str(number), 'wb', buffering=0) as file:\n"
        "            for _ in range(64): written += file.write(bytes(1 << 20))\n"
        "except OSError: pass\n"
        "tell(written)"
    )
    assert 32 * MIB < found <= 64 * MIB


def test_memory_that_no_limit_counts_is_not_to_be_had(lab: Lab) -> None:
    found = lab.found(
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "shmget = (libc.shmget(0, 1 << 30, 0o1600), ctypes.get_errno())\n"
        "tell([attempt(lambda: os.memfd_create('x')), shmget])"
    )
    assert found == ["PermissionError", [-1, 1]]


def test_a_fork_bomb_stops_at_the_number_of_processes(lab: Lab) -> None:
    found = lab.found(
        "import time\n"
        "born = 0\n"
        "for _ in range(1000):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "    except BlockingIOError: break\n"
        "    born += 1\n"
        "tell(born)",
        job_processes=20,
    )
    assert 10 < found < 20


def test_a_huge_file_ends_at_its_limit(any_lab: Lab) -> None:
    body = "with open(out / 'model.h5', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"
    with pytest.raises(DiskLimit, match="10 MiB in one file"):
        any_lab.run(body, job_output_bytes=10 * MIB)


def test_many_files_end_at_the_limit_of_all_together(any_lab: Lab) -> None:
    body = (
        "import time\n"
        "(out / 'deep' / 'er').mkdir(parents=True)\n"
        "for number in range(9): (out / 'deep' / 'er' / str(number)).write_bytes(bytes(1 << 19))\n"
        "time.sleep(60)"
    )
    with pytest.raises(DiskLimit, match="4 MiB or 10,000 files in all"):
        any_lab.run(body, job_output_bytes=MIB)


@pytest.mark.slow
def test_folders_without_end_end_and_are_removed(lab: Lab) -> None:
    body = (
        "import time\n"
        "os.chdir(out)\n"
        "for number in range(1500):\n"
        "    os.mkdir('d'); os.chdir('d')\n"
        "os.chmod('.', 0)\n"
        "time.sleep(60)"
    )
    with pytest.raises(DiskLimit):
        lab.run(body)


def test_a_jobs_processes_come_after_its_services_for_memory_and_for_the_cores(any_lab: Lab) -> None:
    runner = any_lab.runner("", warm=1)
    runner._starter.submit(lambda: None).result()
    (box,) = runner._ready
    assert box.process.stdout.readline() == b'{"ready": true}\n'
    # The process that waits for the service's end is the service's.
    own = [pid for pid in processes(box.folder.name) if b"starter.py" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in own} == {"1000\n"}
    nicest = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)  # the tests themselves may be run under nice
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in own} == {nicest}


@pytest.mark.parametrize(
    ("status", "kills", "expected"),
    [(-9, 1, OutOfMemory), (-9, 0, JobCrashed), (-11, 1, JobCrashed), (1, 1, JobCrashed)],
    ids=["killed for memory", "killed by somebody", "crashed beside it", "failed beside it"],
)
def test_the_kernels_memory_killer_is_told_by_its_own_count(
    lab: Lab, status: int, kills: int, expected: type[Exception]
) -> None:
    facts = Facts(status=status, stopped=None, seconds=0.1, memory_kills=kills, exact=False, stderr="")
    (out := lab.root / "out").mkdir()
    ending = verdict.Ending(facts=facts, limits=LIMITS, box=lab.root, out=out)
    assert type(verdict.verdict(ending)) is expected

"""A control group for each job: real ones where this machine has them, and folders that look like version 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coppice.errors import OutOfMemory
from coppice.sandbox import cgroups
from coppice.sandbox.cgroups import Cgroups, Group, NoCgroup

from .conftest import MIB, Lab, groups

#: Each of three processes stays below the limit of one, and all together don't below that of the job.
THREE = """
import time
main = os.getpid()
for _ in range(2):
    if os.fork() == 0:
        break
held = bytearray(os.urandom(1 << 20)) * 150
if os.getpid() == main:
    os.wait()  # the kernel may kill any of them
    os._exit(1)
time.sleep(60)
"""

TEMPORARY = """
import tempfile
held = bytearray(os.urandom(1 << 20)) * 200
with open('/tmp/file', 'wb', buffering=0) as file:
    for _ in range(60): file.write(held[:1 << 20])
os._exit(0)
"""


@pytest.fixture
def grouped(lab: Lab) -> Lab:
    if groups() is None:
        pytest.skip("this user can't make control groups here")
    return lab


@pytest.mark.parametrize("body", [THREE, TEMPORARY], ids=["processes", "temporary files"])
def test_what_no_process_alone_holds_counts_for_the_job(grouped: Lab, body: str) -> None:
    if body == TEMPORARY and grouped.isolation == "landlock":
        pytest.skip("temporary files are on disk there")
    with pytest.raises(OutOfMemory, match="held more memory than its limit of 256 MiB, all its processes"):
        grouped.run(body, job_memory_bytes=256 * MIB)


def test_a_group_is_gone_with_its_job(grouped: Lab) -> None:
    found = groups()
    assert found is not None
    runner = grouped.runner("", warm=1)
    runner._starter.submit(lambda: None).result()
    mine = f"{cgroups.PREFIX}-{os.getpid()}-*"
    made = [path for folder in found.folders for path in folder.glob(mine)]
    assert len(made) == len(found.folders)
    assert all((path / "cgroup.procs").read_text().split() for path in made)
    runner.close()
    grouped.opened.remove(runner)
    assert not any(list(folder.glob(mine)) for folder in found.folders)


def machine(
    root: Path, *, own: str = "/service", inside: str = "", given: str = "cpu memory pids", divided: str = ""
) -> Path:
    """A folder that looks like a machine with control groups of version 2, as systemd or a container shows it."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n")
    (root / "proc/self/cgroup").write_text(f"0::{own}\n")
    group = root / "sys/fs/cgroup" / own.strip("/")
    (group / cgroups.SERVICE).mkdir(parents=True)
    (group / "cgroup.controllers").write_text(f"{given}\n")
    (group / "cgroup.subtree_control").write_text(f"{divided}\n")
    (group / "cgroup.procs").write_text(inside)
    return group


def test_a_delegated_group_is_divided_and_the_service_moves_aside(tmp_path: Path) -> None:
    group = machine(tmp_path, inside=f"{os.getpid()}\n")
    found = cgroups.find(tmp_path)
    assert found == Cgroups(version="v2", folders=(group,))
    assert (group / cgroups.SERVICE / "cgroup.procs").read_text() == str(os.getpid())
    assert (group / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_the_workers_of_a_service_that_has_moved_find_the_same_group(tmp_path: Path) -> None:
    group = machine(tmp_path, divided="memory pids")
    (tmp_path / "proc/self/cgroup").write_text(f"0::/service/{cgroups.SERVICE}\n")
    assert cgroups.find(tmp_path).folders == (group,)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"given": "cpu"}, "was not given memory and pids"),
        ({"inside": "1\n"}, "holds other processes"),
    ],
)
def test_a_group_that_is_not_the_services_own_is_left_alone(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    group = machine(tmp_path, **settings)
    with pytest.raises(NoCgroup, match=reason):
        cgroups.find(tmp_path)
    assert (group / "cgroup.subtree_control").read_text() == "\n"


def test_a_container_may_divide_the_group_that_it_sees_as_the_first(tmp_path: Path) -> None:
    group = machine(tmp_path, own="/", inside="1\n")
    assert cgroups.find(tmp_path).folders == (group,)


def test_version_2_counts_kills_in_its_events(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n")
    assert Group(folders=(tmp_path,)).memory_kills() == 3


def test_what_a_killed_service_left_is_removed(tmp_path: Path) -> None:
    group = machine(tmp_path, divided="memory pids")
    nobody = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    (left := group / f"{cgroups.PREFIX}-{nobody}-abc").mkdir()
    (held := group / f"{cgroups.PREFIX}-{os.getpid()}-abc").mkdir()
    cgroups.find(tmp_path)
    assert (left.exists(), held.exists()) == (False, True)

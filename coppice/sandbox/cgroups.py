"""A control group for each job: what all its processes may use together, and how often the kernel had to step in.

A resource limit counts the address space of one process; a group counts the memory that all of them really hold,
temporary files in memory included. Needs a group that this process may divide: version 2 with `Delegate=yes` or in a
container that may write to its own, version 1 as root. Where there is none, the resource limits stand alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

CONTROLLERS: Final = ("memory", "pids")

#: Version 2 allows processes in the leaves of the tree only, so the service moves into one of its own.
SERVICE: Final = "coppice-service"

#: Of a job: the process that made it and a random word, so that what a killed service left can be told.
PREFIX: Final = "coppice-job"

#: What stands around a job: two bubblewraps with an init process each, or a keeper.
AROUND: Final = 8

#: A group can be removed a moment after the last of its processes has ended.
EMPTY_SECONDS: Final = 2.0


class NoCgroup(Exception):
    """There is no group to divide; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The group of one job: a folder in each tree."""

    folders: tuple[Path, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Where a process writes its number to join."""
        return tuple(str(folder / "cgroup.procs") for folder in self.folders)

    def memory_kills(self) -> int:
        """How many of its processes the kernel has killed for passing the limit."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                if (folder / name).exists():
                    return _value(folder / name, "oom_kill")
        return 0

    def remove(self) -> None:
        """Remove it; its processes are dead or about to be."""
        deadline = time.monotonic() + EMPTY_SECONDS
        for folder in self.folders:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError as e:
                    if e.errno != errno.EBUSY or time.monotonic() > deadline:
                        break
                    time.sleep(0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """Where groups can be made: one folder in the tree of version 2, or one in each of version 1."""

    version: str
    folders: tuple[Path, ...]

    def new(self, *, memory_bytes: int, processes: int) -> Group:
        """A group with these limits; raises OSError."""
        name = f"{PREFIX}-{os.getpid()}-{uuid4().hex[:12]}"
        group = Group(folders=tuple(folder / name for folder in self.folders))
        limits = {
            "memory.max": memory_bytes,
            "memory.swap.max": 0,
            "memory.oom.group": 1,
            "memory.limit_in_bytes": memory_bytes,
            "memory.memsw.limit_in_bytes": memory_bytes,  # after the one above, which may not be larger
            "pids.max": processes + AROUND,
        }
        try:
            for folder in group.folders:
                folder.mkdir()
            # Each tree has some of these files, and without swap a kernel has not all.
            for file, value in limits.items():
                for folder in group.folders:
                    if (folder / file).exists():
                        (folder / file).write_text(f"{value}\n", "ascii")
        except OSError:
            group.remove()
            raise
        return group


def find(root: Path = Path("/")) -> Cgroups:
    """Where this process can make groups, tried out; raises NoCgroup."""
    try:
        found = _find(root)
        found.new(memory_bytes=1 << 20, processes=1).remove()
        _sweep(found)
    except OSError as e:
        raise NoCgroup(f"control groups can't be written to here ({e.strerror}: {e.filename})") from e
    return found


def _find(root: Path) -> Cgroups:
    trees, own = _mounted(root), _own(root)
    if all(name in trees and name in own for name in CONTROLLERS):
        places = [_place(*trees[name], own[name]) for name in CONTROLLERS]
        return Cgroups(version="v1", folders=tuple(dict.fromkeys(places)))
    if "" not in trees or "" not in own:
        raise NoCgroup("no control groups are mounted here")
    place = _place(*trees[""], own[""])
    return Cgroups(version="v2", folders=(_divided(place, top=own[""] == "/"),))


def _mounted(root: Path) -> dict[str, tuple[Path, str]]:
    """Controller ("" for version 2) -> where its tree is mounted, and which group is at the top there."""
    found: dict[str, tuple[Path, str]] = {}
    for line in (root / "proc/self/mountinfo").read_text("utf-8").splitlines():
        first, _, second = line.partition(" - ")
        top, mounted = first.split()[3:5]
        kind, _, options = second.split()[:3]
        if kind == "cgroup2":
            found[""] = (root / mounted.lstrip("/"), top)
        elif kind == "cgroup":
            found |= dict.fromkeys(options.split(","), (root / mounted.lstrip("/"), top))
    return found


def _own(root: Path) -> dict[str, str]:
    """Controller ("" for version 2) -> the group of this process."""
    found: dict[str, str] = {}
    for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _place(mounted: Path, top: str, own: str) -> Path:
    if not Path(own).is_relative_to(top):
        raise NoCgroup("the control group of this process lies outside of what is mounted here")
    return mounted / Path(own).relative_to(top)


def _divided(own: Path, *, top: bool) -> Path:
    """A group of version 2 whose children have limits, its own processes moved into one of them."""
    base = own.parent if own.name == SERVICE else own
    missing = set(CONTROLLERS) - set((base / "cgroup.controllers").read_text("ascii").split())
    if missing:
        raise NoCgroup(f"the control group of the service was not given {' and '.join(sorted(missing))}")
    switch = base / "cgroup.subtree_control"
    if set(CONTROLLERS) <= set(switch.read_text("ascii").split()):
        return base
    if not os.access(switch, os.W_OK):
        raise NoCgroup("the control group of the service is not delegated to it (systemd: Delegate=yes)")
    inside = set(map(int, (base / "cgroup.procs").read_text("ascii").split()))
    if not top and inside - set(_family()):
        raise NoCgroup("the control group holds other processes; run the service as one of its own (Delegate=yes)")
    (base / SERVICE).mkdir(exist_ok=True)
    for pid in inside:
        with contextlib.suppress(ProcessLookupError):
            (base / SERVICE / "cgroup.procs").write_text(str(pid), "ascii")
    switch.write_text(" ".join(f"+{name}" for name in CONTROLLERS), "ascii")
    return base


def _family() -> Iterator[int]:
    """This process and what it has started."""
    pending = [os.getpid()]
    while pending:
        pid = pending.pop()
        yield pid
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pending += map(int, task.read_text("ascii").split())


def _sweep(found: Cgroups) -> None:
    """Remove the groups that a service left when it was killed."""
    for folder in found.folders:
        for left in folder.glob(f"{PREFIX}-*"):
            maker = left.name.removeprefix(f"{PREFIX}-").partition("-")[0]
            if not Path(f"/proc/{maker}").exists():
                with contextlib.suppress(OSError):
                    left.rmdir()


def _value(file: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in file.read_text("ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0

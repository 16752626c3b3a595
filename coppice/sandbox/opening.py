"""Choosing the walls: tries them in a throw-away child before the first job, and says what is missing.

Tried, not looked up: what a machine allows is decided by the kernel, its security modules and the container around
it, and no setting tells all of that.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

from coppice.errors import IsolationUnavailable
from coppice.sandbox import cgroups, keeper, probes, view
from coppice.sandbox.bare import Bare
from coppice.sandbox.box import Command, Walls, open_box, remove
from coppice.sandbox.bubblewrap import Bubblewrap
from coppice.sandbox.cgroups import Cgroups, NoCgroup
from coppice.sandbox.landlocked import Landlocked
from coppice.sandbox.limits import Limits
from coppice.sandbox.runner import BoxRunner, Runner, private
from coppice.settings import Settings

PROBE_SECONDS = 30

WAY_OUT = "Or start with --isolation none, which protects this machine from nothing and serves on loopback only."

#: Words of bubblewrap, of the keeper or of Python on standard error -> what to do.
REMEDIES: Final = {
    "setting up uid map": "The system keeps ordinary users from making user namespaces (on Ubuntu 24.04: AppArmor)."
    " Allow it with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run the service as root.",
    "Failed RTM_NEWADDR": "The system keeps ordinary users from making user namespaces (on Ubuntu 24.04: AppArmor)."
    " Allow it with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run the service as root.",
    "No permissions to create new namespace": "User namespaces are switched off here. Allow them with"
    " `sysctl kernel.unprivileged_userns_clone=1` and `sysctl user.max_user_namespaces=10000`; in Docker, start the"
    " container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined.",
    "Creating new namespace failed": "This container may not make namespaces. In Docker, start it with"
    " --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined.",
    "Unknown option": "This bubblewrap is too old: version 0.8 or newer is needed.",
    "landlock: PermissionError": "The job's user can't enter the folder above, or one that it lies in. Give the service"
    " a data folder that other users may pass through (chmod o+x), or run it as an ordinary user.",
    "without the capabilities": "Run the service as an ordinary user, or leave its container those three.",
    "Permission denied": "The files of Python, of its environment or of coppice can't be read by other users. Make"
    " them readable (chmod -R o+rX).",
}

#: TensorFlow gives up where it can't read its own /proc/self/cmdline, and a rule for that would open everybody's.
NO_TENSORFLOW: Final = "format=tflite fails there, for TensorFlow needs /proc"

#: From the strongest to none.
LEVELS: Final = ("A", "B", "C", "none")


class Isolation(TypedDict):
    """What isolates jobs, for the start-up log, `/healthz` and `doctor`.

    A: namespaces and a user for each job, B: namespaces, C: Landlock without namespaces, none: nothing, asked for;
    unavailable: nothing that would do, so that no job is run.
    """

    level: str
    mechanism: str
    landlock_abi: int
    cgroup: str | None
    uid_per_job: bool
    why_not_higher: list[str]
    reasons: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Walls that hold, and what was found out on the way."""

    walls: Walls
    level: str
    mechanism: str
    cgroup: str | None = None
    #: Why there is no higher level, and no control group.
    why_not_higher: tuple[str, ...] = ()
    #: Probe -> what it failed with.
    contained: dict[str, str] = field(default_factory=dict)

    def describe(self) -> Isolation:
        """The same as plain data."""
        return {
            "level": self.level,
            "mechanism": self.mechanism,
            "landlock_abi": keeper.landlock_abi(),
            "cgroup": self.cgroup,
            "uid_per_job": self.walls.uid_per_job,
            "why_not_higher": list(self.why_not_higher),
            "reasons": [self.mechanism, *self.why_not_higher],
        }


def child_command(box: Path) -> Sequence[str]:
    """The process that runs a job: isolated from PYTHON* variables, and writing no bytecode."""
    return (sys.executable, "-I", "-B", "-m", "coppice.child", str(box))


def open_runner(settings: Settings, scratch: Path, *, command: Command = child_command) -> Runner:
    """A runner with its boxes in `scratch`; raises IsolationUnavailable with what to install or allow."""
    limits = Limits.of(settings)
    boxes = private(scratch / "boxes")
    return BoxRunner(
        open_walls(settings, boxes).walls, limits=limits, command=command, scratch=boxes, warm=settings.warm
    )


def describe(settings: Settings) -> Isolation:
    """What isolates jobs here, tried out."""
    try:
        return examine(settings).describe()
    except IsolationUnavailable as e:
        return {
            "level": "unavailable",
            "mechanism": "",
            "landlock_abi": keeper.landlock_abi(),
            "cgroup": None,
            "uid_per_job": False,
            "why_not_higher": [e.message],
            "reasons": [e.message],
        }


def examine(settings: Settings) -> Opened:
    """The walls of this machine, tried out in a folder for that; raises IsolationUnavailable."""
    with tempfile.TemporaryDirectory(prefix="coppice-probe-") as folder:
        return open_walls(settings, private(Path(folder)))


def open_walls(settings: Settings, boxes: Path) -> Opened:
    """The walls that the settings ask for, tried out; raises IsolationUnavailable."""
    if not hasattr(os, "waitid"):
        raise IsolationUnavailable("Jobs can be run on Linux, or on macOS with Python 3.13 and --isolation none.")
    if settings.isolation == "none":
        opened = Opened(
            walls=Bare.find(Limits.of(settings), litert=settings.litert_folder),
            level="none",
            mechanism="asked for with --isolation none: a job can read and change whatever this user can",
        )
    else:
        _refuse_readable(settings, boxes)
        opened = _strongest(settings, boxes)
    needed = settings.require_isolation
    if needed is not None and LEVELS.index(opened.level) > LEVELS.index(needed):
        raise IsolationUnavailable(
            f"Isolation of level {needed} is required (--require-isolation), and here it is {opened.level}:"
            f" {'; '.join((opened.mechanism, *opened.why_not_higher))}"
        )
    return opened


def _refuse_readable(settings: Settings, boxes: Path) -> None:
    more = () if settings.litert_folder is None else view.environment_folders(settings.litert_folder)
    seen = [folder for folder in (Path("/usr"), *view.code_folders(), *more) if boxes.is_relative_to(folder)]
    if seen:
        raise IsolationUnavailable(f"The data folder is in {seen[0]}, which every job can read. Choose another.")


def _strongest(settings: Settings, boxes: Path) -> Opened:
    groups, no_group = _groups()
    refusals: list[str] = []
    for name in WALLS if settings.isolation == "auto" else (settings.isolation,):
        try:
            walls = WALLS[name](Limits.of(settings), settings.litert_folder, groups)
            contained = _try(walls, boxes)
        except IsolationUnavailable as e:
            refusals.append(e.message)
            continue
        level, mechanism = _level(name, walls)
        forced = [f"--isolation {name} was asked for"] if settings.isolation != "auto" and level == "C" else []
        without = [NO_TENSORFLOW] if level == "C" and settings.litert_folder else []
        user = [] if walls.uid_per_job else ["all jobs are this user (run as root to give each its own)"]
        return Opened(
            walls=walls,
            level=level,
            mechanism=mechanism,
            cgroup=None if groups is None else groups.version,
            why_not_higher=(*forced, *refusals, *user, *no_group, *without),
            contained=contained,
        )
    raise IsolationUnavailable(" ".join((*refusals, WAY_OUT)))


#: isolation -> how to make its walls, from the strongest.
WALLS: Final[dict[str, Callable[[Limits, Path | None, Cgroups | None], Walls]]] = {
    "bwrap": lambda limits, litert, groups: Bubblewrap.find(limits, litert=litert, cgroups=groups),
    "landlock": lambda limits, litert, groups: Landlocked.find(limits, litert=litert, cgroups=groups),
}


def _level(name: str, walls: Walls) -> tuple[str, str]:
    if name == "landlock":
        return "C", "Landlock and a system-call filter, without namespaces"
    if walls.uid_per_job:
        return "A", "namespaces by bubblewrap and a system-call filter; every job is a user of its own"
    return "B", "namespaces by bubblewrap and a system-call filter"


def _groups() -> tuple[Cgroups | None, tuple[str, ...]]:
    try:
        return cgroups.find(), ()
    except NoCgroup as e:
        return None, (f"memory is limited by process and not by job: {e}",)


def _try(walls: Walls, boxes: Path) -> dict[str, str]:
    """Attack the walls from inside; what each probe failed with. Raises IsolationUnavailable where one succeeds."""
    with _another_job(boxes) as secret:
        try:
            box = open_box(walls, lambda _: probes.command(sys.executable, secret), boxes)
        except OSError as e:  # of root without other users: inside a user namespace, or without capabilities
            raise IsolationUnavailable(
                f"A sandbox can't be prepared here: {e}. Run the service as an ordinary user."
            ) from e
        timer = threading.Timer(PROBE_SECONDS, box.process.kill)
        timer.start()
        try:
            said, complained = box.process.stdout.read(), box.process.stderr.read().decode("utf-8", "replace").strip()
            status = box.process.exit.result()
        finally:
            timer.cancel()
            box.destroy()
    if status != 0:
        remedy = next((text for words, text in REMEDIES.items() if words in complained), "")
        raise IsolationUnavailable(
            f"The sandbox does not start here: {complained[-500:] or f'status {status}'}. {remedy}".rstrip()
        )
    outcomes: dict[str, str] = json.loads(said)
    reached = [name for name, failure in outcomes.items() if not failure]
    if reached:
        raise IsolationUnavailable(f"The sandbox does not hold: a job could reach {', '.join(reached)}.")
    return outcomes


@contextlib.contextmanager
def _another_job(boxes: Path) -> Iterator[str]:
    """A file as another job of the same service would have it, which only the walls keep anybody from reading."""
    (other := boxes / f"probe-{os.getpid()}").mkdir()
    try:
        other.chmod(0o755)
        (secret := other / "secret").write_text("another job's")
        secret.chmod(0o644)
        yield str(secret)
    finally:
        remove(other)

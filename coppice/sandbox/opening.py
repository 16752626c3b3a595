"""Choosing the walls: tries them in a throw-away child before the first job, and says what is missing.

Tried, not looked up: what a machine allows is decided by the kernel, its security modules and the container around
it, and no setting tells all of that.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

from coppice.errors import IsolationUnavailable
from coppice.sandbox import view
from coppice.sandbox.bare import Bare
from coppice.sandbox.box import Command, Walls, open_box
from coppice.sandbox.bubblewrap import Bubblewrap
from coppice.sandbox.limits import Limits
from coppice.sandbox.runner import BoxRunner, Runner, private
from coppice.settings import Settings

PROBE_SECONDS = 30

WAY_OUT = "Or start with --isolation none, which protects this machine from nothing and serves on loopback only."

#: Words of bubblewrap or Python on standard error -> what to do.
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
    "Permission denied": "The files of Python, of its environment or of coppice can't be read by other users. Make"
    " them readable (chmod -R o+rX).",
}

#: Run inside: tells what it can reach and must not.
PROBE: Final = """
import json, os, socket
import coppice.records.request
hidden = ("/etc/passwd", "/etc/shadow", "/home", "/proc/self/environ", "/proc/self/root", "/proc/1")
reached = [path for path in hidden if os.path.exists(path)]
try:
    socket.socket()
    reached.append("a socket")
except PermissionError:
    pass
try:
    open("/probe", "w")
    reached.append("a file of the system to write to")
except OSError:
    pass
print(json.dumps(reached))
"""


def child_command(box: Path) -> Sequence[str]:
    """The process that runs a job: isolated from PYTHON* variables, and writing no bytecode."""
    return (sys.executable, "-I", "-B", "-m", "coppice.child", str(box))


def open_runner(settings: Settings, scratch: Path, *, command: Command = child_command) -> Runner:
    """A runner with its boxes in `scratch`; raises IsolationUnavailable with what to install or allow."""
    limits = Limits.of(settings)
    boxes = private(scratch / "boxes")
    return BoxRunner(open_walls(settings, boxes), limits=limits, command=command, scratch=boxes, warm=settings.warm)


def open_walls(settings: Settings, boxes: Path) -> Walls:
    """The walls that the settings ask for, tried out; raises IsolationUnavailable."""
    if not hasattr(os, "waitid"):
        raise IsolationUnavailable("Jobs can be run on Linux, or on macOS with Python 3.13 and --isolation none.")
    if settings.isolation == "none":
        return Bare.find(Limits.of(settings), litert=settings.litert_folder)
    litert = settings.litert_folder
    more = () if litert is None else view.environment_folders(litert)
    seen = [folder for folder in (Path("/usr"), *view.code_folders(), *more) if boxes.is_relative_to(folder)]
    if seen:
        raise IsolationUnavailable(f"The data folder is in {seen[0]}, which every job can read. Choose another.")
    walls = Bubblewrap.find(Limits.of(settings), litert=litert)
    _try(walls, boxes)
    return walls


class Isolation(TypedDict):
    """What isolates jobs: `bwrap`, `none` or `unavailable`, and why."""

    level: str
    uid_per_job: bool
    reasons: list[str]


def describe(settings: Settings) -> Isolation:
    """What isolates jobs here, tried out: for the start-up log, `doctor` and the banner."""
    try:
        with tempfile.TemporaryDirectory(prefix="coppice-probe-") as folder:
            walls = open_walls(settings, private(Path(folder)))
    except IsolationUnavailable as e:
        return {"level": "unavailable", "uid_per_job": False, "reasons": [e.message]}
    if settings.isolation == "none":
        reason = "asked for with --isolation none: a job can read and change whatever this user can"
    elif walls.uid_per_job:
        reason = "bubblewrap and a system-call filter; every job is a user of its own"
    else:
        reason = "bubblewrap and a system-call filter; all jobs are this user (run as root to give each its own)"
    return {"level": settings.isolation, "uid_per_job": walls.uid_per_job, "reasons": [reason]}


def _try(walls: Walls, boxes: Path) -> None:
    box = open_box(walls, lambda _: (sys.executable, "-I", "-B", "-c", PROBE), boxes)
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
            f"The sandbox does not start here: {complained[-500:] or f'status {status}'}. {remedy} {WAY_OUT}"
        )
    reached = json.loads(said)
    if reached:
        raise IsolationUnavailable(f"The sandbox does not hold: a job could reach {', '.join(reached)}. {WAY_OUT}")

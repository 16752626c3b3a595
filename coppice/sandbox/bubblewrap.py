"""The boundary: the bubblewrap command that a job runs in, for root and for an ordinary user.

Started by an ordinary user, bubblewrap makes a user namespace and is done. Started by root it would leave the job
root's own files to read, for the owner on the host stays uid 0. So root uses it twice: the outer one only arranges
the view (which may lie in folders that root alone can enter), then `setpriv` gives up everything for a uid that
this box alone has, and that one starts the inner, unprivileged bubblewrap.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coppice.errors import IsolationUnavailable
from coppice.sandbox import seccomp, view
from coppice.sandbox.cgroups import Cgroups
from coppice.sandbox.launch import Launch, job_environment
from coppice.sandbox.limits import Limits

#: What a job believes to be, whoever it is on the host.
JOB_UID = 1000

#: No distribution hands these out (systemd's list of uid ranges calls them unused); drawn at random, so that
#: worker processes need not agree on them.
UNUSED_UIDS = range(0x7000_0000, 0x7400_0000)

#: Inside a container that maps only 65,536 uids: those that systemd keeps for short-lived services.
TRANSIENT_UIDS = range(61_184, 65_520)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubblewrap:
    """Runs commands in sandboxes of their own."""

    bwrap: str
    prlimit: str
    setsid: str
    setpriv: str | None  # for root only
    limits: Limits
    filter: bytes
    cgroups: Cgroups | None = None
    #: The environment of TensorFlow and LiteRT, which jobs may read and run.
    litert: Path | None = None

    @classmethod
    def find(cls, limits: Limits, *, litert: Path | None = None, cgroups: Cgroups | None = None) -> Bubblewrap:
        """The tools of this machine; raises IsolationUnavailable naming the package that is missing."""
        return cls(
            bwrap=_tool("bwrap", package="bubblewrap"),
            prlimit=_tool("prlimit", package="util-linux"),
            setsid=_tool("setsid", package="util-linux"),
            setpriv=_tool("setpriv", package="util-linux") if os.geteuid() == 0 else None,
            limits=limits,
            filter=seccomp.program(),
            litert=litert,
            cgroups=cgroups,
        )

    @property
    def uid_per_job(self) -> bool:
        """Whether every job has a user of its own on the host."""
        return self.setpriv is not None

    def launch(self, box: Path, command: Sequence[str]) -> Launch:
        """How to start `command` with `box` as its folder; hands the box's out/ to the job's user."""
        sight = view.mounts(box, self.litert)
        # Asked of the outermost bubblewrap: with its process namespace everything in it ends.
        handle: tuple[str, ...] = ("--die-with-parent", "--info-fd", Launch.INFO, "--")
        inner = (
            *(self.bwrap, *sight, "--remount-ro", "/"),
            *("--unshare-user", "--unshare-all", "--uid", str(JOB_UID), "--gid", str(JOB_UID)),
            *("--hostname", "job", "--chdir", "/tmp"),  # noqa: S108
            *(part for name, value in job_environment(self.litert).items() for part in ("--setenv", name, value)),
            *("--seccomp", Launch.GIVEN),
        )
        outer: tuple[str, ...] = ()
        if self.setpriv is not None:
            uid = draw_uid()
            os.chown(box / view.OUT, uid, uid)
            outer = (
                # The inner bubblewrap writes its maps below this /proc, which the job itself then never sees.
                *(self.bwrap, *sight, "--unshare-pid", "--proc", "/proc", *handle),
                *(self.setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
                *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"),
            )
            # A root without capabilities, as the outer one soon is, may not signal the job's user: the inner one
            # would outlive it, were it not for the process namespace around both.
            handle = ("--",)
        return Launch(
            command=(
                *outer,
                *inner,
                *handle,
                # A session for the job alone, in which it can signal nobody else. Not bubblewrap's `--new-session`:
                # its init would join, before it is bound to the life of its parent, and be out of the group that
                # the starter kills.
                self.setsid,
                *self.limits.command(self.prlimit, count_processes=True),
                *command,
            ),
            # A sandbox without a word of the service's environment: its init process would show it in /proc.
            environment={},
            given=self.filter,
            group=self.limits.group(self.cgroups),
        )


def _tool(name: str, *, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise IsolationUnavailable(
            f"the sandbox needs `{name}`, which is not installed. Install it (Debian, Ubuntu: apt install {package};"
            f" Fedora: dnf install {package}), or start with --isolation none, which protects this machine from"
            " nothing and serves on loopback only."
        )
    return path


def draw_uid() -> int:
    """A uid that nobody else has, out of those that exist in this container."""
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text("ascii").splitlines()]
    highest = max(int(start) + int(count) for start, _, count in ranges)
    uids = UNUSED_UIDS if highest >= UNUSED_UIDS.stop else TRANSIENT_UIDS
    return random.SystemRandom().choice(uids)

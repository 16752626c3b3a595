"""The first process of a box: `python -I -S starter.py LEASH [GROUP ...] -- COMMAND ...`. It becomes the command.

LEASH is a pipe that nobody writes to; when its other end is closed, by the service's death or its wish, everything in
this process group ends. bubblewrap's own `--die-with-parent` holds only once it has started; killed in the middle of
that, it leaves a process behind that waits for ever. `-` is no leash: a keeper has its own.

GROUP is a file of a control group to join. A box computes after the service's own processes, and goes before them
when memory runs out. This file is run by itself, in an empty environment: it imports nothing of coppice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

#: While all cores compute, a call is still answered at once.
NICENESS: Final = 10
#: The kernel's preference among processes to kill when the machine runs out of memory: a job before its service.
OOM_SCORE: Final = "1000"


def main(leash: str, *rest: str) -> None:
    """Become the command; never returns."""
    groups, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    if leash != "-":
        _watched(int(leash))
        with contextlib.suppress(OSError):  # another system than Linux
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    for group in groups:
        Path(group).write_text(str(os.getpid()))
    os.nice(NICENESS)
    _become(command)


def _watched(leash: int) -> None:
    """Fork the process that waits for the end of the leash; before the group, of which it is no part."""
    if os.fork() != 0:
        os.close(leash)
        return
    os.closerange(0, leash)
    os.closerange(leash + 1, os.sysconf("SC_OPEN_MAX"))
    os.read(leash, 1)
    os.kill(0, signal.SIGKILL)


def _become(command: tuple[str, ...]) -> None:
    # Python ignores them, and a program that is started would, too.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606  our own command line


if __name__ == "__main__":
    main(*sys.argv[1:])

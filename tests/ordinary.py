"""Becoming an ordinary user for a test: root runs a command as somebody who owns one folder and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from coppice.sandbox.view import code_folders, outermost

REPOSITORY = Path(__file__).parents[1]

#: Nobody's.
UID = 61_999


def ordinary_user(home: Path) -> tuple[str, ...]:
    """What to put before a command; `home` becomes that user's. Nothing where we aren't root."""
    if os.geteuid() != 0:
        return ()
    home.mkdir(parents=True, exist_ok=True)
    shutil.chown(home, UID, UID)
    hidden = outermost(Path("/") / folder.parts[1] for folder in (*code_folders(), REPOSITORY, home))
    # Folders that only root can enter may be above Python's and ours: empty ones that all can enter replace them.
    opened = [part for folder in hidden for part in ("--perms", "1777", "--tmpfs", str(folder))]
    seen = [part for folder in outermost((*code_folders(), REPOSITORY)) for part in _visible("--ro-bind", folder)]
    user = (f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    return (
        *("bwrap", "--dev-bind", "/", "/", *opened, *seen, *_visible("--bind", home)),
        *("--die-with-parent", "--chdir", str(home), "--", "setpriv", *user, "--"),
    )


def _visible(how: str, folder: Path) -> list[str]:
    parents = [part for parent in reversed(folder.parents[:-1]) for part in ("--dir", str(parent))]
    return [*parents, how, str(folder), str(folder)]

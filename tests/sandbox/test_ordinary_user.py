"""The same attacks where the service is an ordinary user, as it is on a laptop. Needs root to become one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.sandbox.view import code_folders, outermost

from .conftest import bubblewrap_missing

REPOSITORY = Path(__file__).parents[2]

#: Nobody's.
UID = 61_999


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user already")
def test_every_attack_fails_for_an_ordinary_users_service_too(tmp_path: Path) -> None:
    reason = bubblewrap_missing()
    if reason is not None:
        pytest.skip(reason)
    (home := tmp_path / "home").mkdir()
    shutil.chown(home, UID, UID)
    hidden = outermost(Path("/") / folder.parts[1] for folder in (*code_folders(), REPOSITORY, tmp_path))
    # Folders that only root can enter may be above Python's and ours: empty ones that all can enter replace them.
    opened = [part for folder in hidden for part in ("--perms", "1777", "--tmpfs", str(folder))]
    seen = [part for folder in outermost((*code_folders(), REPOSITORY)) for part in _visible("--ro-bind", folder)]
    tests = [str(path) for path in sorted(Path(__file__).parent.glob("test_*.py")) if path != Path(__file__)]
    outcome = subprocess.run(
        [
            *("bwrap", "--dev-bind", "/", "/", *opened, *seen, *_visible("--bind", home)),
            *("--die-with-parent", "--chdir", str(REPOSITORY), "--"),
            *(
                "setpriv",
                f"--reuid={UID}",
                f"--regid={UID}",
                "--clear-groups",
                "--bounding-set=-all",
                "--inh-caps=-all",
            ),
            *(sys.executable, "-B", "-m", "pytest", "-n0", "-x", "-p", "no:cacheprovider", *tests),
            *("--basetemp", str(home / "tests"), "-k", "not what_the_class_file_tries"),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout[-8000:] + outcome.stderr[-2000:]


def _visible(how: str, folder: Path) -> list[str]:
    parents = [part for parent in reversed(folder.parents[:-1]) for part in ("--dir", str(parent))]
    return [*parents, how, str(folder), str(folder)]

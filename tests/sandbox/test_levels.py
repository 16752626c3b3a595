"""The levels of isolation: A as root; B and C where the service is an ordinary user, which needs root to become one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from coppice.errors import IsolationUnavailable
from coppice.sandbox import describe, keeper, open_runner, opening, probes
from coppice.sandbox.opening import examine
from coppice.settings import load
from tests.ordinary import REPOSITORY, ordinary_user

from .conftest import missing

LEVELS = {"bwrap": "B", "landlock": "C"}

#: Once inside: what the service would find.
EXAMINE = (
    "import json; from coppice.sandbox import describe; from coppice.settings import load;"
    " print(json.dumps(describe(load())))"
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user already")


def as_user(
    tmp_path: Path, *command: str, environment: Mapping[str, str], around: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run Python as an ordinary user who owns one folder."""
    home = tmp_path / "home"
    return subprocess.run(
        [*ordinary_user(home), *around, sys.executable, "-B", *command],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "CI": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def needed(isolation: str) -> None:
    """Skip where this machine can't have it, for reasons that are its kernel's; at home, for others too."""
    newest = tuple(int(part) for part in platform.release().split(".")[:2]) >= (6, 12)
    if os.environ.get("CI") == "true" and newest:
        return
    if isolation == "landlock" and keeper.landlock_abi() < keeper.NEEDED_ABI:
        pytest.skip(f"Landlock {keeper.landlock_abi()} of this kernel is older than {keeper.NEEDED_ABI}")
    if isolation == "bwrap" and (reason := missing(isolation)):
        pytest.skip(reason)


@needs_root
def test_root_gets_the_highest_level() -> None:
    needed("bwrap")
    found = describe(load({}))
    assert (found["level"], found["uid_per_job"], found["why_not_higher"]) == ("A", True, [])


@needs_root
@pytest.mark.parametrize("isolation", LEVELS)
def test_an_ordinary_user_gets_its_level(tmp_path: Path, isolation: str) -> None:
    needed(isolation)
    done = as_user(tmp_path, "-c", EXAMINE, environment={"COPPICE_ISOLATION": isolation})
    found = json.loads(done.stdout)
    assert (found["level"], found["uid_per_job"]) == (LEVELS[isolation], False), found


@needs_root
def test_where_no_namespaces_can_be_made_landlock_takes_their_place(tmp_path: Path) -> None:
    needed("landlock")
    # As the container of Docker's default profile: one more namespace is one too many.
    closed = ("bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--")
    done = as_user(tmp_path, "-c", EXAMINE, environment={}, around=closed)
    found = json.loads(done.stdout)
    assert found["level"] == "C", found
    assert "namespace" in found["why_not_higher"][0]


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("isolation", LEVELS)
def test_every_attack_fails_for_an_ordinary_users_service_too(tmp_path: Path, isolation: str) -> None:
    needed(isolation)
    folder = Path(__file__).parent
    # Whose walls do not differ by level, or that take long for what they add.
    left = {Path(__file__).name, "test_seccomp.py", "test_results.py", "test_remove.py"}
    tests = [str(path) for path in sorted(folder.glob("test_*.py")) if path.name not in left]
    done = as_user(
        tmp_path,
        *("-m", "pytest", "-n0", "-p", "no:cacheprovider", *tests, "--basetemp", str(tmp_path / "home" / "tests")),
        *("-k", "not what_the_class_file_tries"),
        environment={"SANDBOX": isolation},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_less_than_what_is_required_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsolationUnavailable, match=r"level C is required \(--require-isolation\), and here it is none"):
        open_runner(load({}, isolation="none", require_isolation="C"), tmp_path)
    found = describe(load({}, isolation="none", require_isolation="A"))
    assert found["level"] == "unavailable"
    assert IsolationUnavailable.exit_code == 69


def test_the_doctor_shows_what_was_tried_and_refuses_less_than_what_is_required() -> None:
    """As a start of the service would."""
    doctor = [str(Path(sys.executable).with_name("coppice")), "doctor"]
    needed("bwrap")
    shown = subprocess.run(doctor, capture_output=True, text=True, check=True).stdout
    assert all(f"  {probe} " in shown for probe in probes.PROBES)
    refused = {**os.environ, "COPPICE_ISOLATION": "none", "COPPICE_REQUIRE_ISOLATION": "B"}
    done = subprocess.run(doctor, env=refused, capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert "--require-isolation" in done.stderr


@pytest.mark.parametrize(("level", "enough"), [("A", "ABC"), ("B", "BC"), ("C", "C"), ("none", "")])
def test_a_level_is_enough_for_itself_and_those_below(level: str, enough: str) -> None:
    for required in "ABC":
        assert (opening.LEVELS.index(level) <= opening.LEVELS.index(required)) is (required in enough)


def test_a_kernel_with_too_old_a_landlock_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for abi, words in ((4, "has version 4 of Landlock"), (0, "has no Landlock, or it is switched off")):
        monkeypatch.setattr(keeper, "landlock_abi", lambda abi=abi: abi)
        with pytest.raises(IsolationUnavailable, match=f"needs Landlock of version 6 or newer.*{words}"):
            examine(load({}, isolation="landlock"))

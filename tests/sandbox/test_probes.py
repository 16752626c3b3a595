"""The table of attacks that every start tries: contained behind the walls, and real where there are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.sandbox import probes
from coppice.sandbox.opening import Opened, examine
from coppice.settings import load

from .conftest import Lab

#: Those that any user may do, were there no walls.
ANYBODY = (
    *("descriptors of the service", "a file of the system", "the list of folders", "another job's folder"),
    *("the service's environment", "a network socket", "a local socket", "a pair of datagram sockets"),
    *("a signal to the service", "the service's limits", "another's descriptors"),
    *("memory outside the limits", "shared memory outside the limits"),
)


@pytest.fixture
def opened(lab: Lab) -> Opened:
    lab.runner("")  # skips where there is no such sandbox
    return examine(load({}, isolation=lab.isolation))


def test_every_attack_is_contained(opened: Opened) -> None:
    assert set(opened.contained) == set(probes.PROBES)
    assert all(opened.contained.values())


def test_attacks_on_the_services_files_and_processes_fail_for_want_of_permission_or_sight(opened: Opened) -> None:
    sight = {"FileNotFoundError", "ProcessLookupError"} if opened.level in {"A", "B"} else {"PermissionError"}
    for attack in ("a file of the system", "another job's folder", "the service's environment"):
        assert opened.contained[attack] in sight
    assert opened.contained["a signal to the service"] in sight


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Without walls they succeed: so it is the walls that they fail at."""
    (secret := tmp_path / "secret").write_text("another job's")
    command = probes.command(sys.executable, str(secret), {name: probes.PROBES[name] for name in ANYBODY})
    with Path(os.devnull).open("rb") as extra:
        said = subprocess.run(command, capture_output=True, check=True, pass_fds=(extra.fileno(),)).stdout
    assert json.loads(said) == dict.fromkeys(ANYBODY, "")

"""`scripts/dialects` itself, as far as it can be tried without gigabytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "dialects"


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The script on a machine that has this Python and no other."""
    environment = {"PATH": str(home), "HOME": str(home)}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_lists_the_environments_and_their_pins(tmp_path: Path) -> None:
    lines = run("--list", home=tmp_path).stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["tf23", "tf212", "tf215", "keras3", "litert"]
    assert "tensorflow-cpu==2.3.4" in lines[0]


def test_an_unknown_environment_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    answer = run("tf99", home=tmp_path)
    assert answer.returncode == 2
    assert "there are tf23, tf212, tf215, keras3, litert" in answer.stderr

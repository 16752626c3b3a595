"""Opening the sandbox: what is missing is said at start, and never found out by a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coppice.errors import IsolationUnavailable
from coppice.sandbox import describe, open_runner, opening, view
from coppice.settings import load

from .conftest import Lab


def stand_in(folder: Path, name: str, script: str) -> None:
    """A tool of another machine."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_machine_without_bubblewrap_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IsolationUnavailable, match=r"`bwrap`.*apt install bubblewrap.*--isolation none"):
        open_runner(load({}, isolation="bwrap"), tmp_path)
    description = describe(load({}, isolation="bwrap"))
    assert description["level"] == "unavailable"
    assert "apt install bubblewrap" in description["reasons"][0]


@pytest.mark.parametrize("words", opening.REMEDIES)
def test_a_sandbox_that_does_not_start_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    (tools := tmp_path / "tools").mkdir()
    for tool in ("prlimit", "setpriv", "setsid"):
        stand_in(tools, tool, "exit 0")
    stand_in(tools, "bwrap", f"echo 'bwrap: {words}: Operation not permitted' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(IsolationUnavailable) as refusal:
        open_runner(load({}, isolation="bwrap"), tmp_path / "scratch")
    assert words in refusal.value.message
    assert opening.REMEDIES[words] in refusal.value.message
    assert not list((tmp_path / "scratch" / "boxes").iterdir())


def test_a_sandbox_that_leaks_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.runner("")  # skips where there is no bubblewrap
    monkeypatch.setattr(view, "SYSTEM_FILES", (*view.SYSTEM_FILES, "/etc/passwd"))
    with pytest.raises(IsolationUnavailable, match=r"does not hold: a job could reach a file of the system\."):
        open_runner(load({}, isolation="bwrap"), lab.root)


def test_a_data_folder_that_jobs_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PACKAGE", tmp_path)
    with pytest.raises(IsolationUnavailable, match="which every job can read"):
        open_runner(load({}), tmp_path / "coppice-data")


def test_the_boxes_are_for_the_services_own_user_only(lab: Lab) -> None:
    runner = open_runner(load({}, isolation="none", warm=0), lab.root / "work")
    runner.close()
    assert (lab.root / "work" / "boxes").stat().st_mode & 0o777 == 0o700


def test_the_description_says_what_isolates(lab: Lab) -> None:
    none = describe(load({}, isolation="none"))
    assert (none["level"], none["uid_per_job"]) == ("none", False)
    assert "--isolation none" in none["reasons"][0]
    lab.runner("")  # skips where there is no bubblewrap
    real = describe(load({}, isolation="bwrap"))
    root = os.geteuid() == 0
    assert (real["level"], real["uid_per_job"]) == ("A" if root else "B", root)


def test_the_view_holds_only_the_outermost_folders(tmp_path: Path) -> None:
    inner, outer, other = tmp_path / "a" / "b", tmp_path / "a", tmp_path / "ab"
    assert view.outermost([inner, other, outer, inner]) == (outer, other)

"""Removing what a job left, with a service's own means and nobody's help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.sandbox import remove


@pytest.mark.slow
def test_folders_deeper_than_python_follows_are_removed(tmp_path: Path) -> None:
    (folder := tmp_path / "job").mkdir()
    script = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\n"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_folders_without_permissions_are_removed_and_links_left_alone(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (kept / "file").write_text("of the service")
    kept.chmod(0o500)
    (locked := tmp_path / "job" / "locked").mkdir(parents=True)
    (locked / "link").symlink_to(kept)
    os.link(kept / "file", locked / "file")
    locked.chmod(0)
    remove(tmp_path / "job")
    assert list(tmp_path.iterdir()) == [kept]
    assert (kept / "file").read_text() == "of the service"
    assert kept.stat().st_mode & 0o777 == 0o500


def test_what_is_not_there_needs_no_removing(tmp_path: Path) -> None:
    remove(tmp_path / "never")
    assert list(tmp_path.iterdir()) == []

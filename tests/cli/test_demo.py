"""`coppice demo` is what a stranger types first: it needs nothing, overwrites nothing, and its advice works."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from coppice.cli.demo import NEXT


def coppice(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coppice", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_demo_trains_and_prunes_and_what_it_advises_works(tmp_path: Path) -> None:
    told = coppice(tmp_path, "demo", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    dense, cut, given = (report["quality"][stage]["accuracy"] for stage in ("before", "cut", "restored"))
    # A fair try: the network has learnt, the cut hurts, and the repair makes up for it.
    assert dense > 0.85
    assert cut < given
    assert report["after"]["parameters"] < 0.3 * report["before"]["parameters"]
    folder = tmp_path / "coppice-demo"
    weights = torch.load(folder / "pruned" / "shapes_pruned_state_dict.pth")
    assert weights["stem.weight"].shape == (16, 1, 3, 3)
    for advised in NEXT:
        program, *words = shlex.split(advised)
        assert program == "coppice"
        after = coppice(folder, *words)
        assert after.returncode == 0, after.stderr
    assert (folder / "small.onnx").stat().st_size < (folder / "shapes.pth").stat().st_size / 4


def test_the_demo_leaves_a_folder_that_is_there_alone(tmp_path: Path) -> None:
    (tmp_path / "coppice-demo").mkdir()
    (tmp_path / "coppice-demo" / "model.py").write_text("mine")
    told = coppice(tmp_path, "demo", "--json")
    assert told.returncode == 2
    assert json.loads(told.stdout)["field"] == "folder"
    assert (tmp_path / "coppice-demo" / "model.py").read_text() == "mine"
    assert len(list((tmp_path / "coppice-demo").iterdir())) == 1

"""The same request gives the same bytes, whenever and wherever it is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from coppice.formats.pytorch import stable_pickle
from tests.formats import every_kind

ROOT = Path(__file__).parents[2]
#: These tell how long something took.
TIMED = {"report", "report_html", "bundle"}


def hashes(sent: Path, folder: Path, seed: int) -> dict[str, dict[str, str]]:
    """Of every artifact of one model of every kind, by a process that hashes texts in its own way."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.formats.every_kind", str(sent), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, dict[str, str]] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_request_that_is_made_again_gives_the_same_bytes(tmp_path: Path) -> None:
    every_kind.write_uploads(tmp_path / "sent")
    first, again = (hashes(tmp_path / "sent", tmp_path / name, seed) for seed, name in enumerate(("here", "there")))
    assert all("model" in artifacts and "plan" in artifacts for artifacts in first.values())
    differing = [
        f"{kind}: {name}"
        for kind, artifacts in first.items()
        for name in artifacts
        if name not in TIMED and artifacts[name] != again[kind][name]
    ]
    assert differing == []


def test_a_set_is_pickled_in_one_order(tmp_path: Path) -> None:
    names = [f"name {number}" for number in range(9)]
    torch.save((set(names), frozenset(names)), tmp_path / "sets.pt", pickle_module=stable_pickle)
    content = (tmp_path / "sets.pt").read_bytes()
    assert torch.load(tmp_path / "sets.pt", weights_only=False) == (set(names), frozenset(names))
    assert sorted(names, key=lambda name: content.index(name.encode())) == names

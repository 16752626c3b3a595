"""Criteria of other packages, found by their entry points: used by the library and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PRUNE = """
import torch, coppice
from torch import nn
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
try:
    result = coppice.prune(model, percent=0.5, criterion={name!r}, example_inputs=torch.zeros(1, 1, 8, 8))
    print(result.report.criterion, result.plan.kept["0.weight"][0])
except coppice.CoppiceError as e:
    print(e.code, e.message)
"""

_MODULE = """
import numpy as np
def last(group, evidence):
    return np.arange(group.size, dtype=float)
number = 3
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed package that brings criteria: `last` keeps the last channels."""
    info = tmp_path / "keepers-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keepers\nVersion: 1.2\n")
    (tmp_path / "keepers.py").write_text(_MODULE)
    _entries(tmp_path, "last = keepers:last", "number = keepers:number", "broken = keepers_gone:x")
    return tmp_path


def _entries(site: Path, *lines: str) -> None:
    (site / "keepers-1.2.dist-info" / "entry_points.txt").write_text("\n".join(["[coppice.criteria]", *lines, ""]))


def _run(site: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(Path.cwd())])}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_plugin_chooses_what_stays(site: Path) -> None:
    assert _run(site, "-c", _PRUNE.format(name="last")).strip() == "last (2, 3)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", "The plugin 'broken' of keepers 1.2 (keepers_gone:x) can't be loaded: ModuleNotFoundError"),
        ("number", "The plugin 'number' of keepers 1.2 is a int"),
        ("absent", "No criterion is called 'absent'. There are: auto, l1, l2"),
    ],
)
def test_a_plugin_that_is_of_no_use_is_named(site: Path, name: str, told: str) -> None:
    assert told in _run(site, "-c", _PRUNE.format(name=name))


@pytest.mark.slow
def test_a_plugin_may_not_take_a_name_that_is_built_in(site: Path) -> None:
    _entries(site, "l1 = keepers:last")
    assert "keepers 1.2 brings a criterion 'l1', and one of that name is built in" in _run(
        site, "-c", _PRUNE.format(name="l1")
    )


def test_the_server_reads_the_names_and_loads_nothing(site: Path) -> None:
    script = (
        "import sys; from coppice.records.texts import parse_criterion; print(parse_criterion('last'), "
        "parse_criterion('broken'), 'keepers' in sys.modules, 'torch' in sys.modules)"
    )
    assert _run(site, "-c", script).strip() == "last broken False False"


@pytest.mark.slow
def test_the_command_line_takes_a_plugin(site: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))\n"
    )
    make = "import torch; from net import Net; torch.save(Net().state_dict(), 'net.pth')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
    options = "--percent 0.5 --model-name Net --input-size 1,8,8 --criterion last"
    told = _run(
        site,
        "-c",
        "import sys; from coppice.cli import main; sys.exit(main())",
        *("prune", str(tmp_path / "net.pth"), "--class-def", str(tmp_path / "net.py"), *options.split()),
        *("-o", str(tmp_path / "small.pt")),
    )
    assert (tmp_path / "small.pt").exists(), told

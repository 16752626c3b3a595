"""`coppice sweep` on this machine: a folder with the curve and what came of every ratio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.records.sweep import Merit, Sweep
from tests.cli.conftest import Coppice

SMALL = ("weights.pth", "--class-def", "model.py", "--model-name", "Small", "--input-size", "1,8,8")


@pytest.mark.slow
def test_a_folder_gets_the_curve_and_a_model_for_each_ratio(files: Path, coppice: Coppice) -> None:
    draw = np.random.default_rng(0)
    np.savez(files / "s.npz", x=draw.normal(size=(40, 1, 8, 8)).astype("float32"), y=draw.integers(0, 4, 40))
    found = coppice("sweep", *SMALL, "--percents", "0.8,0.4", "--dataset", "s.npz", "-o", "curve", "--json")

    assert found.returncode == 0, found.stderr
    swept = Sweep.model_validate_json(found.stdout)
    assert (swept.merit, swept.held_out) == (Merit.ACCURACY, 8)
    assert {path.name for path in (files / "curve").iterdir()} == {artifact.file for artifact in swept.artifacts}
    assert Sweep.model_validate_json((files / "curve" / "curve.json").read_bytes()) == swept
    assert [point.percent for point in swept.points] == [0.0, 0.4, 0.8]


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        (("--percents", "0.4,40", "-o", "out"), "percent_out_of_range", "percents"),
        (("--percents", "0.4", "-o", "model.py"), "parameter_invalid", "out"),
        (("--percents", "0.4", "-o", "out", "--spread", "even"), "parameter_invalid", "spread"),
        (("--percents", "0.4", "-o", "out", "--dataset", "absent.npz"), "parameter_missing", "dataset"),
    ],
)
def test_a_wrong_call_ends_with_its_code(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: str, field: str
) -> None:
    monkeypatch.chdir(files)
    found = CliRunner().invoke(app, ["sweep", *SMALL, *arguments, "--json"])

    assert found.exit_code == 2
    assert (json.loads(found.stdout)["code"], json.loads(found.stdout)["field"]) == (code, field)

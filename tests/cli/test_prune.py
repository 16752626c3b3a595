"""`coppice prune` and `coppice inspect` on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from coppice.cli.app import app
from tests.cli.conftest import Coppice

SMALL = ("weights.pth", "--class-def", "model.py", "--model-name", "Small", "--input-size", "1,8,8")


@pytest.mark.slow
def test_a_file_named_by_o_is_the_model_and_nothing_else_is_written(files: Path, coppice: Coppice) -> None:
    found = coppice("prune", *SMALL, "--percent", "0.4", "-o", "small.pt")

    assert found.returncode == 0, found.stderr
    assert {path.name for path in files.iterdir()} == {"model.py", "weights.pth", "small.pt"}
    assert "10" in found.stdout
    assert "exact" in found.stdout


@pytest.mark.slow
def test_a_folder_named_by_o_gets_every_artifact_of_the_report(files: Path, coppice: Coppice) -> None:
    found = coppice("prune", *SMALL, "--percent", "0.4", "-o", "out", "--json")

    # What the model's own code prints is not in the JSON, though it printed.
    assert "a model may print" in found.stderr
    report = json.loads(found.stdout)
    assert {path.name for path in (files / "out").iterdir()} == {entry["file"] for entry in report["artifacts"]}
    state_dict = next(entry["file"] for entry in report["artifacts"] if entry["name"] == "state_dict")
    kept = torch.load(files / "out" / state_dict, weights_only=True)
    assert kept["conv.weight"].shape == (6, 1, 3, 3)
    assert kept["fc.weight"].shape == (4, 6 * 36)


@pytest.mark.slow
def test_inspect_shows_the_group_and_why_the_output_stays_and_writes_nothing(files: Path, coppice: Coppice) -> None:
    found = coppice("inspect", *SMALL, "--json")

    inspection = json.loads(found.stdout)
    assert [(group["name"], group["channels"]) for group in inspection["groups"]] == [("conv", 10)]
    assert any("fc" in entry["layers"] and entry["reason"] for entry in inspection["frozen"])
    assert {path.name for path in files.iterdir()} <= {"model.py", "weights.pth", "__pycache__"}


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("weights.pth", "--percent", "0.4"), "parameter_missing", 2),
        ((*SMALL, "--percent", "40"), "percent_out_of_range", 2),
        ((*SMALL, "--percent", "abc"), "parameter_invalid", 2),
        (("model.py", "--percent", "0.4"), "unknown_format", 3),
        (("absent.h5", "--percent", "0.4"), "parameter_missing", 2),
        (("absent.h5", "--percent", "0.4", "-o", "out.pt"), "parameter_missing", 2),
        ((*SMALL, "--percent", "0.4", "-o", "out.h5"), "parameter_invalid", 2),
    ],
)
def test_a_wrong_call_ends_with_its_code_and_no_traceback(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: str, status: int
) -> None:
    monkeypatch.chdir(files)
    arguments = arguments if "-o" in arguments else (*arguments, "-o", "out.pt")
    told, typed = (CliRunner().invoke(app, ["prune", *arguments, *more]) for more in ((), ("--json",)))

    assert (told.exit_code, typed.exit_code) == (status, status)
    assert code in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""
    assert json.loads(typed.stdout)["code"] == code


@pytest.mark.slow
def test_an_unknown_layer_is_told_with_the_names_there_are(coppice: Coppice) -> None:
    found = coppice("prune", *SMALL, "--percent", "0.4", "--omit", "nothere", "-o", "out.pt")

    assert found.returncode == 2
    assert "nothere" in found.stderr
    assert "conv" in found.stderr
    assert "unknown_layer (omit)" in found.stderr


def test_a_service_that_is_not_there_ends_with_69(coppice: Coppice) -> None:
    found = coppice("prune", *SMALL, "--percent", "0.4", "-o", "out.pt", "--server", "https://127.0.0.1:1")

    assert found.returncode == 69
    assert "can't be reached" in found.stderr

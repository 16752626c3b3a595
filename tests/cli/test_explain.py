"""`coppice explain` says of every error what its class says, at every width, and knows a misspelt code."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from coppice.cli.app import app
from coppice.errors import BY_CODE

RUNNER = CliRunner()


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_every_code_is_explained(code: str) -> None:
    kind = BY_CODE[code]
    told = RUNNER.invoke(app, ["explain", code], env={"COLUMNS": "60"})
    words = " ".join(told.stdout.split())
    assert told.exit_code == 0
    # The lines of a narrow terminal are broken between words only.
    for said in (kind.cause, kind.remedy, f"exit code {kind.exit_code}", f"HTTP status {kind.http_status}"):
        assert " ".join(said.split()) in words
    assert max(map(len, told.stdout.splitlines())) <= 60


def test_without_a_code_all_are_listed_and_none_is_cut() -> None:
    told = RUNNER.invoke(app, ["explain"], env={"COLUMNS": "60"}).stdout
    assert {line.split()[0] for line in told.splitlines() if line.strip()} >= set(BY_CODE)
    assert "…" not in told


def test_json_has_what_a_program_needs() -> None:
    (one, every) = (RUNNER.invoke(app, ["explain", *more, "--json"]).stdout for more in (["time_limit"], []))
    assert json.loads(one)["exit_code"] == BY_CODE["time_limit"].exit_code
    assert {entry["code"] for entry in json.loads(every)["errors"]} == set(BY_CODE)


@pytest.mark.parametrize(("typed", "meant"), [("time_limits", "time_limit"), ("unsuported_layer", "unsupported_layer")])
def test_a_misspelt_code_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    found = RUNNER.invoke(app, ["explain", typed], env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert f"did you mean {meant}?" in found.stderr


def test_a_code_may_be_typed_with_dashes_and_capitals() -> None:
    assert RUNNER.invoke(app, ["explain", "Time-Limit"]).stdout.startswith("time_limit")

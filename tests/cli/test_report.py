"""`coppice report` shows what an earlier command left behind, as that command showed it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Coppice

SMALL = ("weights.pth", "--class-def", "model.py", "--model-name", "Small", "--input-size", "1,8,8")


@pytest.mark.slow
def test_a_stored_report_is_shown_as_its_command_showed_it(files: Path, coppice: Coppice) -> None:
    pruned = coppice("prune", *SMALL, "--percent", "0.4", "-o", "out")
    assert pruned.returncode == 0, pruned.stderr
    shown, read = coppice("report", "out"), coppice("report", "out/report.json", "--json")
    assert shown.stdout == pruned.stdout[: pruned.stdout.index("written ")]
    assert json.loads(read.stdout) == json.loads((files / "out/report.json").read_text())

    page = coppice("report", "out", "--html", "page.html")
    assert page.returncode == 0, page.stderr
    assert (files / "page.html").read_text() == (files / "out/report.html").read_text()


@pytest.mark.slow
def test_a_log_has_a_line_for_each_step_and_no_colours(files: Path, coppice: Coppice) -> None:
    found = coppice("prune", *SMALL, "--percent", "0.4", "-o", "out.pt")
    steps = [line.split()[0] for line in found.stderr.splitlines() if not line.startswith("a model")]
    assert {"start", "read", "trace", "verify"} <= set(steps)
    assert len(steps) == len(set(steps))
    assert "\x1b" not in found.stderr + found.stdout


@pytest.mark.parametrize(
    ("content", "exit_code", "code"),
    [(None, 2, "parameter_missing"), ("{}", 3, "unknown_format"), ("no json", 3, "unknown_format")],
)
def test_what_is_no_report_is_refused(
    files: Path, coppice: Coppice, content: str | None, exit_code: int, code: str
) -> None:
    if content is not None:
        (files / "report.json").write_text(content)
    found = coppice("report", "report.json", "--json")
    assert (found.returncode, json.loads(found.stdout)["code"]) == (exit_code, code)

"""The files of a result on their way to where their user wants them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coppice.cli import running
from coppice.errors import OutputNotWritten
from tests.sandbox.conftest import report


def test_a_place_that_can_not_be_written_names_what_is_there(tmp_path: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    for name in ("first.pth", "second.onnx", "third.json"):
        (scratch / name).write_text(name)
    # A folder of the user's has the name of the second file.
    (out / "second.onnx").mkdir(parents=True)
    with pytest.raises(
        OutputNotWritten, match=r"second\.onnx can't be written: .*\. Written to .*: first\.pth\."
    ) as told:
        running.moved(report("first.pth", "second.onnx", "third.json"), scratch, out)
    assert told.value.field == "out"
    # Nothing half-written is left, under no name.
    assert {path.name for path in out.iterdir()} == {"first.pth", "second.onnx"}


def test_a_file_where_a_folder_is_due_is_told(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("a result")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputNotWritten, match="File exists"):
        running.move(tmp_path / "result", tmp_path / "file" / "model.pth")
    assert (tmp_path / "result").read_text() == "a result"

"""The notebooks run from their first cell to their last, and are kept without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coppice.settings import Settings
from tests.serving import serving

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples" / "notebooks").glob("*.ipynb"))


def _code(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


@contextmanager
def _beside(notebook: Path, folder: Path) -> Iterator[dict[str, str]]:
    """What a notebook tells its reader to start beside it, as its environment."""
    if notebook.stem != "service":
        yield {}
        return
    with serving(Settings(data_dir=folder / "data", port=0)) as service:
        yield {"COPPICE_SERVER": service.url}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_every_cell_runs_in_order(notebook: Path, tmp_path: Path) -> None:
    program = tmp_path / "cells.py"
    program.write_text("\n".join("".join(cell["source"]) for cell in _code(notebook)))
    with _beside(notebook, tmp_path) as environment:
        found = subprocess.run(
            [sys.executable, program],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    assert found.returncode == 0, found.stderr[-4000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_no_output_is_kept(notebook: Path) -> None:
    assert _code(notebook)
    for cell in _code(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None

"""A Python of its own that has torch and the user's files alone: what is written must need nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

_PROLOGUE = """
import sys
sys.modules["coppice"] = sys.modules["safetensors"] = None
sys.path.insert(0, sys.argv[1])
"""


def run(program: str, folder: Path, *arguments: object) -> str:
    """What a program prints that can import the files of a folder."""
    text = _PROLOGUE + textwrap.dedent(program)
    command = [sys.executable, "-I", "-c", text, str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

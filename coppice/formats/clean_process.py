"""Run one of the `clean_*.py` scripts in a Python of its own: no code of ours is importable there, and time is bounded.

A script is given the path of a JSON file, its job, and leaves its verdict beside it. What it loads is the user's, so it
may print, hang or crash; each comes back as a CleanProcessFailed with a reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What a crashed script said last is worth showing, all it said is not.
MAX_SAID = 2000

_HERE = Path(__file__).parent


class CleanProcessFailed(Exception):
    """The script gave no verdict; the message is the reason."""


def run_clean(script: str, job: dict[str, Any], folder: Path, *, seconds: float) -> Any:
    """The verdict of `script` on `job`; its files and what it prints go into `folder`."""
    job_file, verdict_file, said_file = folder / "job.json", folder / "verdict.json", folder / "said.txt"
    job_file.write_text(json.dumps(job))
    # -I: neither the folder of the script nor the environment's paths; the script itself refuses coppice.
    command = [sys.executable, "-I", str(_HERE / script), str(job_file), str(verdict_file)]
    with said_file.open("wb") as said:
        try:
            done = subprocess.run(  # noqa: S603  our own interpreter and script
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as e:
            raise CleanProcessFailed(f"it took longer than {seconds:g} s") from e
    if done.returncode != 0 or not verdict_file.exists():
        with said_file.open("rb") as said:
            said.seek(max(0, said_file.stat().st_size - MAX_SAID))
            last = said.read().decode(errors="replace").strip()
        raise CleanProcessFailed(f"it ended with status {done.returncode}: {last}")
    return json.loads(verdict_file.read_text())
